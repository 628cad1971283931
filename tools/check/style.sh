#!/bin/sh
# Style that a script can judge: open markers, sleeps in tests, header guards, file essays, own header
# first, paths of one machine.
# usage: tools/check/style.sh [TOP]   (TOP: the source tree; default: the one this script is in)
# Prints file:line, the text and the rule for each violation; exit code 1 when there is one.
here=$(cd "$(dirname "$0")" && pwd) || exit 1
cd "${1:-$here/../..}" || exit 1
exec perl -I"$here" -e '
require "common.pl";
my $essay_lines_min = 4;     # of a file that has more lines than small_file
my $small_file = 80;
my @layers = qw(base proto remoting store mqstore namesrv broker client apps model);

sub each_line {
    my ($file, $text, $pattern, $rule) = @_;
    my $n = 0;
    for (split /\n/, $text) {
        $n++;
        report($file, $n, $_, $rule) if /$pattern/;
    }
}

# The words and places below are spelled so that this file does not match itself.
my $marker = join "|", "TO" . "DO", "FIX" . "ME", "X" x 3;
my $place = join "|", "home", "root", "Users", "workspace", "work", "mnt", "media";

my @all = files(qr{\.(c|h|def|sh|pl|py|cmake|md|txt|conf|sql|html|js|css|json|java|go|yml|yaml)$|(^|/)(run|Dockerfile[^/]*)$}, ".");
for my $file (@all) {
    my $text = slurp($file);
    each_line($file, $text, qr{\b($marker)\b}, "no open markers: finish it or leave it out");
    # As a word of its own: not a part of a longer path and not of a URL.
    each_line($file, $text, qr{(?<![\w./~\$\}-])/($place)/\w}, "no path of one machine");
}

for my $file (grep { /\.h$/ } @all) {
    my $text = slurp($file);
    next if $text =~ /No include guard/;    # an expander, included many times
    report($file, 1, (split /\n/, $text)[0] // "", "a header begins with #pragma once")
        unless $text =~ /\A#pragma once\n/;
}

my $in_layer = join "|", @layers;
for my $file (grep { m{^($in_layer)/.*\.c$} } @all) {
    my $text = slurp($file);
    my ($essay) = $text =~ m{\A(/\*.*?\*/)}s;
    my $lines = defined $essay ? 1 + ($essay =~ tr/\n//) : 0;
    report($file, 1, (split /\n/, $text)[0] // "",
           "a .c begins with an essay: what it owns, which thread, happy path, failures, invariants")
        if !$lines || ($lines < $essay_lines_min && ($text =~ tr/\n//) > $small_file);
    (my $noun = $file) =~ s/\.c$//;
    next unless -e "$noun.h" && $text =~ /\A(.*?)^\s*#\s*include\s+["<]([^">]+)[">]/ms;
    my ($before, $first) = ($1, $2);
    report($file, 1 + ($before =~ tr/\n//), "#include $first", "own header first")
        unless $first eq "$noun.h" || $first eq "${noun}_priv.h";
}

# Chaos and interop programs draw the moment of a kill or the length of a job; tests proper do not.
for my $file (grep { m{^tests/(unit|integration|e2e|support)/.*\.c$} && $_ ne "tests/support/wait.c" } @all) {
    my $text = code_only(slurp($file));
    each_line($file, $text, qr{(?<![\w.])(?<!->)(sleep|usleep|nanosleep|clock_nanosleep|uv_sleep)\s*\(},
              "tests wait for a condition with a deadline (tests/support/wait.h), never for a time");
}
finish("style", scalar @all);
'
