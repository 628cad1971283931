# Shared by the checks: the files to look at, and C text without comments and strings.
use strict;
use warnings;
use File::Find;

# Files below the given folders whose name matches, without what is built, recorded or foreign.
sub files {
    my ($match, @folders) = @_;
    my @found;
    find({no_chdir => 1, wanted => sub {
        if (-d && m{(^|/)(build|\.git|\.cache|node_modules|corpus|target)$|^(\./)?tests/golden$}) {
            $File::Find::prune = 1;
            return;
        }
        (my $name = $_) =~ s{^\./}{};
        push @found, $name if -f && $name =~ $match;
    }}, grep { -e } @folders);
    my %seen;
    return grep { !$seen{$_}++ } sort @found;
}

sub slurp {
    my ($file) = @_;
    open(my $in, '<', $file) or die "$file: $!\n";
    local $/;
    my $text = <$in>;
    return defined $text ? $text : '';
}

# The same text with comments and the inside of strings and characters blanked; lines keep their place.
sub code_only {
    my ($text) = @_;
    my $blank = sub { (my $s = $_[0]) =~ s/[^\n]/ /g; return $s };
    $text =~ s{(/\*.*?\*/)|(//[^\n]*)|"((?:[^"\\\n]|\\.)*)"|'((?:[^'\\\n]|\\.)*)'}
              {defined $1 ? $blank->($1) : defined $2 ? $blank->($2)
               : defined $3 ? '"' . $blank->($3) . '"' : "'" . $blank->($4) . "'"}gse;
    return $text;
}

my $failures = 0;

sub report {
    my ($file, $line, $text, $rule) = @_;
    $text =~ s/^\s+|\s+$//g;
    $text = substr($text, 0, 100);
    print "$file:$line: $text\n    $rule\n";
    $failures++;
}

# Ends the check: says what was looked at, so that a check of nothing is seen to be one.
sub finish {
    my ($name, $n) = @_;
    print "$name: $n files, $failures violations\n";
    print "$name: nothing to check here; is this the top of the source tree?\n" unless $n;
    exit($failures || !$n ? 1 : 0);
}

1;
