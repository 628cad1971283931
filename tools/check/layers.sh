#!/bin/sh
# Include direction: every #include is measured against tools/check/layers.txt.
# usage: tools/check/layers.sh [TOP]   (TOP: the source tree; default: the one this script is in)
# Prints file:line, the include and the rule for each violation; exit code 1 when there is one.
here=$(cd "$(dirname "$0")" && pwd) || exit 1
cd "${1:-$here/../..}" || exit 1
exec perl -I"$here" -e '
require "common.pl";
my (%allowed, %only);
for (split /\n/, slurp("tools/check/layers.txt")) {
    s/#.*//;
    my ($kind, $name, @rest) = split;
    next unless defined $kind;
    $kind eq "layer" ? $allowed{$name} = [@rest] : $kind eq "only" ? $only{$name} = [@rest]
        : die "tools/check/layers.txt: unknown line: $_\n";
}
my @folders = sort { length $b <=> length $a } keys %allowed;

sub starts { my ($s, @prefixes) = @_; return scalar grep { index($s, $_) == 0 } @prefixes }

sub check_quoted {
    my ($file, $line, $text, $name) = @_;
    my ($layer) = grep { index($file, "$_/") == 0 } @folders;
    (my $own = $file) =~ s{[^/]*$}{};
    return report($file, $line, $text, "includes are written from the top of the tree, without ..")
        if $name =~ m{(^|/)\.\.?/} || $name !~ m{/};
    if ($name =~ /_priv\.h$/) {
        (my $folder = $name) =~ s{[^/]*$}{};
        report($file, $line, $text, "a private header is for its own folder and its tests")
            unless $own eq $folder || $file =~ m{^tests/};
    }
    return if grep { $_ eq "*" } @{$allowed{$layer}};
    my @may = map { $_ eq "\@own" ? $own : $_ } @{$allowed{$layer}};
    report($file, $line, $text, "$layer may include only: @may") unless starts($name, @may);
}

my @files = files(qr{\.(c|h|def)$}, keys %allowed);
for my $file (@files) {
    my $n = 0;
    my @code = split /\n/, slurp($file);
    for my $text (@code) {
        $n++;
        if ($text =~ /^\s*#\s*include\s+"([^"]+)"/) {
            check_quoted($file, $n, $text, $1);
        } elsif ($text =~ /^\s*#\s*include\s+<([^>]+)>/) {
            my $name = $1;
            check_quoted($file, $n, $text, $name) if $name =~ m{^halfpenny/};
            report($file, $n, $text, "<$name> is for these alone: @{$only{$name}}")
                if $only{$name} && !grep { m{/$} ? index($file, $_) == 0 : $file eq $_ } @{$only{$name}};
        }
    }
}
finish("layers", scalar @files);
'
