#!/bin/sh
# The compose files say what the programs understand. An unknown SHOP_... in the environment is nobody's error, so a
# misspelt one would silently be the default; here it is found, without Docker.
# usage: tools/check/compose.sh BIN [TOP]   (BIN: folder of built programs; TOP: the source tree)
# Every target is a stage of the Dockerfile and every stage that runs something is a target; every program that an
# image takes is built, also where a build argument names it; every SHOP_KEY is an option of the service that gets it, and none that is mandatory is
# missing; every file that is mounted exists; mqbroker knows every key of both its configurations.
here=$(cd "$(dirname "$0")" && pwd) || exit 1
bin=$(cd "$1" && pwd) || exit 1
cd "${2:-$here/../..}" || exit 1
BIN=$bin exec perl -I"$here" -e '
require "common.pl";
my $bin = $ENV{BIN};
my $dockerfile = "docker/Dockerfile";
my @composes = ("docker-compose.yml", "docker/scenario/compose.yml");
my (%stage, %runs, %target, %help);
my (%prefix, %argument);    # of the programs that a build argument names; of the stage that needs it

# ---- the images ----
my $text = slurp($dockerfile);
my ($n, $current) = (0, "");
for (split /\n/, $text) {
    $n++;
    if (/^FROM\s+\S+\s+AS\s+(\S+)/) { $current = $1; $stage{$1} = $n }
    $runs{$current} = $n if /^(CMD|ENTRYPOINT) /;
    while (m{/programs/(\w[\w-]*)(?:\$\{(\w+)\})?}g) {
        if (defined $2) { ($prefix{$2}, $argument{$current}) = ($1, $2) }
        elsif (!-x "$bin/$1") { report($dockerfile, $n, $_, "no such program is built: $1") }
    }
}

# ---- the services: which keys of the environment each gets, also by anchors ----
my (%keys, %uses, %block);    # owner -> [key, file, line]; service -> anchors; anchor -> owner
for my $file (@composes) {
    my ($owner, $in_services, $line) = ("", 0, 0);
    for (split /\n/, slurp($file)) {
        $line++;
        next if /^\s*#/;
        if (/^(\S[^:]*):\s*(?:&(\w+))?/) { $in_services = $1 eq "services"; $owner = "$file $1"; $block{"$file $2"} = $owner if $2 }
        elsif ($in_services && /^  (\w+):/) { $owner = $1 }
        push @{$uses{$owner}}, "$file $1" while /\*(\w+)/g;
        push @{$keys{$owner}}, [$1, $file, $line, $_] while /\bSHOP_(\w+):/g;
        if (/target:\s*(\w+)/) {
            $target{$1} = 1;
            report($file, $line, $_, "$dockerfile has no stage $1") unless $stage{$1};
            my $needs = $argument{$1};
            report($file, $line, $_, "stage $1 needs the argument $needs") if $needs && !/args:\s*\{$needs:/;
        }
        if (/args:\s*\{(\w+):\s*([\w-]+)\}/ && $prefix{$1}) {
            report($file, $line, $_, "no such program is built: $prefix{$1}$2") unless -x "$bin/$prefix{$1}$2";
        }
        report($file, $line, $_, "no such file") if m{"\./([^:"]+):} && !-e $1;
    }
}
for my $s (sort keys %runs) {
    report($dockerfile, $stage{$s}, "stage $s", "no service has it as its target") unless $target{$s};
}

sub options_of {
    my ($service) = @_;
    return $help{$service} //= -x "$bin/shop-$service" ? qx("$bin/shop-$service" --help)
                             : qx("$bin/shopctl" schema --help; "$bin/shopctl" audit --help);
}
my %given;    # service, option
sub check_keys {
    my ($service, $owner) = @_;
    for (@{$keys{$owner} // []}) {
        my ($key, $file, $line, $text) = @$_;
        (my $option = lc $key) =~ tr/_/-/;
        $given{$service, $option} = 1;
        report($file, $line, $text, "$service has no option --$option") unless options_of($service) =~ /^  --\Q$option\E\s/m;
    }
    check_keys($service, $_) for map { $block{$_} // () } @{$uses{$owner} // []};
}
my @services = grep { !/ / && ($keys{$_} || $uses{$_}) } sort keys %{{%keys, %uses}};
for my $service (@services) {
    check_keys($service, $service);
    next unless -x "$bin/shop-$service";
    for my $option (options_of($service) =~ /^  --(\S+) .*\(mandatory\)/mg) {
        report("docker-compose.yml", 1, $service, "--$option is mandatory and not given") unless $given{$service, $option};
    }
}

# ---- the configurations of the broker ----
for my $conf ("docker/broker.conf", "docker/scenario/broker.conf") {
    my $said = qx("$bin/mqbroker" --check-config -c $conf 2>&1);
    report($conf, 1, $said, "mqbroker does not know all of it") if $? || $said =~ /unknown/;
}
finish("compose", scalar @services);
'
