#!/bin/sh
# What the documents of the shop name must exist: files, functions, tests, settings, mutants; and excerpts of code
# must still stand in the file they are taken from.
# usage: tools/check/docs.sh [TOP]   (TOP: the source tree; default: the one this script is in)
# In `...`: a path or a file name is a file; a word, or words joined by dashes, stands somewhere in the sources. A block
# that begins with ```LANGUAGE FILE is an excerpt of FILE.
# Prints file:line, the name and the rule for each violation; exit code 1 when there is one.
here=$(cd "$(dirname "$0")" && pwd) || exit 1
cd "${1:-$here/../..}" || exit 1
exec perl -I"$here" -e '
require "common.pl";
my @docs = grep { -e } qw(docs/IDEMPOTENT_CONSUMERS.md docs/MODEL.md docs/TOUR_SHOP.md);
my @sources = files(qr{\.(c|h|def|sql|sh|pl|txt|yml)$|(^|/)run$}, qw(apps base include model tests tools client run));
my (%word, %base);
for my $file (@sources) {
    my $text = slurp($file);
    $word{$_} = 1 for $text =~ /\w+(?:-\w+)+/g, $text =~ /\w+/g;
    $base{$1} = 1 if $file =~ m{([^/]+)$};
}

sub check_name {
    my ($doc, $line, $name) = @_;
    (my $plain = $name) =~ s/\(\.{0,3}\)$//;
    if ($plain =~ m{^[\w.*/-]+$} && $plain =~ m{/} && $plain !~ m{^\./run|^-|^/}) {
        my @found = grep { -e } glob $plain;
        report($doc, $line, $name, "there is no such file or folder") unless @found;
    } elsif ($plain =~ /^[\w*-]+\.(c|h|sql|sh|def|md|pl)$/) {
        (my $pattern = quotemeta $plain) =~ s/\\\*/.*/g;
        report($doc, $line, $name, "no file has this name") unless grep { /^$pattern$/ } keys %base;
    } elsif ($plain =~ /^[A-Za-z]\w*(?:-\w+)*$/) {
        report($doc, $line, $name, "nothing in the sources is called like this") unless $word{$plain};
    }
}

sub check_excerpt {
    my ($doc, $line, $file, $text) = @_;
    if (!-e $file) {
        report($doc, $line, $file, "an excerpt of a file that is not there");
    } elsif (index(slurp($file), $text) < 0) {
        report($doc, $line, $file, "the excerpt does not stand in this file");
    }
}

for my $doc (@docs) {
    my ($n, $inside, $excerpt, $begun, $text) = (0, 0, "", 0, "");
    for (split /\n/, slurp($doc)) {
        $n++;
        if (/^```(?:\w+\s+(\S+))?/) {
            check_excerpt($doc, $begun, $excerpt, $text) if $inside && $excerpt ne "";
            ($inside, $excerpt, $begun, $text) = (!$inside, $1 // "", $n, "");
        } elsif ($inside) {
            $text .= "$_\n";
        } elsif (!/^    /) {
            check_name($doc, $n, $_) for /`([^`]+)`/g;
        }
    }
    report($doc, $n, "", "a block of code is not closed") if $inside;
}
finish("docs", scalar @docs);
'
