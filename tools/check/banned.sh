#!/bin/sh
# Banned calls: the list is in base/banned.h, with what to use instead.
# usage: tools/check/banned.sh [TOP]   (TOP: the source tree; default: the one this script is in)
# Prints file:line, the call and the rule for each violation; exit code 1 when there is one.
here=$(cd "$(dirname "$0")" && pwd) || exit 1
cd "${1:-$here/../..}" || exit 1
exec perl -I"$here" -e '
require "common.pl";
my %banned;    # call -> [places where it is allowed, what to use instead]
for (split /\n/, slurp("base/banned.h")) {
    $banned{$1} = ["", $2] if m{^(?:/\*| \*) BANNED\s+(\w+)\s+(.+?)\s*$};
    $banned{$2} = [$1, $3] if m{^(?:/\*| \*) BANNED-OUTSIDE\s+(\S+)\s+(\w+)\s+(.+?)\s*$};
}
die "base/banned.h lists nothing\n" unless %banned;
my $any = join "|", sort keys %banned;
my @files = files(qr{\.(c|h)$}, qw(base proto remoting store mqstore namesrv broker client include apps model bench tests));
for my $file (@files) {
    my $text = slurp($file);
    my @lines = split /\n/, $text;
    my $code = code_only($text);
    # A member of that name (x.time(, x->time() is somebody else; a declaration is as bad as a call.
    while ($code =~ /(?<![\w.])(?<!->)($any)\s*\(/g) {
        my ($call, $at) = ($1, $-[1]);
        my ($where, $instead) = @{$banned{$call}};
        next if grep { m{/$} ? index($file, $_) == 0 : $file eq $_ } split /,/, $where;
        my $line = 1 + (substr($code, 0, $at) =~ tr/\n//);
        my $use = $instead eq "-" ? "" : "; use $instead";
        report($file, $line, $lines[$line - 1], "$call() is banned" . ($where ne "" ? " outside $where" : "") . $use);
    }
}
finish("banned", scalar @files);
'
