# The keeper: pid 1 of a world's container, trusted, and all that the engine talks to.
# Frames on stdin and stdout: one byte of kind, four of length (big endian), the payload.
#   in:  P settings, V variables, D folder, F file, L link, G go, S session, I input,
#        K kill foreground, R restore terminal and drop input, W watch, X kill session, C checker
#   out: r ready, o output, e ended, k killed foreground or not, w killed by the watch, c checked
# The session is watched from W on, a checker from its start.
# The session's processes run as an ordinary user and cannot signal, trace or read this one.
use strict;
use POSIX ();

my $machine = (POSIX::uname())[4];
my ($KILL, $PRCTL, $PRLIMIT, $STATFS) =
    $machine eq 'x86_64' ? (62, 157, 302, 137)
    : $machine =~ /^(aarch64|riscv64|loongarch64)$/ ? (129, 167, 261, 43)
    : die "the kernel's calls on $machine are not known\n";
my ($TCSETS, $TIOCSCTTY, $TIOCGPGRP, $TIOCSWINSZ, $TIOCGPTN, $TIOCSPTLCK) =
    (0x5402, 0x540E, 0x540F, 0x5414, 0x80045430, 0x40045431);
my ($TCFLSH, $TCOFLUSH) = (0x540B, 1);    # what the master puts out is what the slave reads
my $typed = '';                           # input that the terminal has not taken yet
my $ROOM = 1 << 18;
my $page = POSIX::sysconf(POSIX::_SC_PAGESIZE());
my (%set, %var, @trees, %left);
my ($in, $out, $look) = ('', '', 0);
my ($master, $settings, $size);    # the session's terminal
my ($from, $pid, $kind);           # the checker's output; the first process; 'e' or 'c'

$SIG{CHLD} = sub { };
$SIG{PIPE} = 'IGNORE';
unblock(*STDOUT);

sub unblock {
    my ($handle) = @_;
    my $flags = fcntl($handle, 3, 0) or die "fcntl: $!";
    fcntl($handle, 4, $flags | POSIX::O_NONBLOCK()) or die "fcntl: $!";
}

sub say_frame { $out .= pack('a N/a*', @_) }

sub whole { my ($path) = @_; open(my $f, '<', $path) or return ''; local $/; my $t = <$f>; $t }

# What really bounds this container, as the kernel tells it.
sub bounds {
    my ($pids, $memory) = map { s/\s+\z//r } (
        whole('/sys/fs/cgroup/pids.max') || whole('/sys/fs/cgroup/pids/pids.max'),
        whole('/sys/fs/cgroup/memory.max')
            || whole('/sys/fs/cgroup/memory/memory.limit_in_bytes'),
    );
    my ($inside, $outside, $count) = split ' ', whole('/proc/self/uid_map');
    my $own = ($outside // 0) != 0 || ($count // 0) < 4294967295 ? 1 : 0;
    my ($filter) = whole('/proc/self/status') =~ /^Seccomp:\s*(\d)/m;
    return ($pids, $memory, $own, $filter // 0);
}

sub own { my ($path, $mode, $owner) = @_;
    chmod(oct $mode, $path) or die "chmod $path: $!";
    chown($owner, $owner, $path) or die "chown $path: $!" if $owner;
}

sub everyone_dies { syscall($KILL, -1, 9) }

# Kill and reap until no process but this one is left.
sub clear {
    for (1 .. 500) {
        my $none = everyone_dies() == -1 && $!{ESRCH};
        1 while waitpid(-1, POSIX::WNOHANG()) > 0;
        return if $none;
        select(undef, undef, undef, 0.01);
    }
    die "processes that cannot be killed\n";
}

sub limit { my ($which, $value) = @_;
    my $pair = pack('QQ', $value, $value);
    syscall($PRLIMIT, 0, $which, $pair, 0) == 0 or die "limit $which: $!";
}

# In the child: become the ordinary user, for good, with the same limits in every backend.
sub become {
    $SIG{$_} = 'DEFAULT' for grep { !/^(__|NUM|KILL$|STOP$|CLD$)/ } keys %SIG;
    POSIX::sigprocmask(POSIX::SIG_SETMASK(), POSIX::SigSet->new);
    if (open(my $f, '>', '/proc/self/oom_score_adj')) { print $f "500\n"; close $f }
    POSIX::close($_) for 3 .. 63;
    $) = "$set{uid} $set{uid}";
    POSIX::setgid($set{uid});
    POSIX::setuid($set{uid});
    die "still root\n" if $> == 0 || $< == 0 || $( == 0 || POSIX::setuid(0);
    chdir $set{home};
    limit(4, 0);
    limit(0, $set{cpu});
    limit(1, $set{fsize});
    limit(7, $set{nofile});
    limit(6, $set{nproc}) if $set{own};
    limit(9, $set{as});
    syscall($PRCTL, 38, 1, 0, 0, 0) == 0 or die "no_new_privs: $!";
    if (length $set{filter}) {
        my $program = pack('S x6 P', length($set{filter}) / 8, $set{filter});
        syscall($PRCTL, 22, 2, $program, 0, 0) == 0 or die "seccomp: $!";
    }
    %ENV = %var;
}

sub session {
    ($settings, $size, my @words) = @_;    # the last: the program, and its words
    my $flags = POSIX::O_RDWR() | POSIX::O_NOCTTY();    # else it becomes this one's own
    sysopen($master, '/dev/ptmx', $flags) or die "ptmx: $!";
    my $number = pack('i', 0);
    ioctl($master, $TIOCSPTLCK, $number) or die "unlock: $!";
    ioctl($master, $TIOCGPTN, $number) or die "number: $!";
    my $path = '/dev/pts/' . unpack('i', $number);
    sysopen(my $slave, $path, $flags) or die "$path: $!";
    ioctl($slave, $TCSETS, $settings) or die "termios: $!";
    ioctl($slave, $TIOCSWINSZ, $size) or die "winsize: $!";
    chown($set{uid}, $set{uid}, $path);
    unblock($master);
    start('e', sub {
        POSIX::setsid();
        ioctl($slave, $TIOCSCTTY, 0) or die "controlling terminal: $!";
        POSIX::dup2(fileno($slave), $_) for 0 .. 2;
    }, @words);
}

sub checker {
    my ($script) = @_;
    clear();
    %left = files();    # what the session left is not the checker's
    $look = 1;
    my $path = '/usr/local/.checker';
    open(my $f, '>', $path) or die "checker: $!";
    print $f $script;
    close $f or die "checker: $!";
    chmod(0444, $path);
    pipe($from, my $to) or die "pipe: $!";
    unblock($from);
    start('c', sub {
        POSIX::setsid();
        open(my $null, '<', '/dev/null') or die "null: $!";
        POSIX::dup2(fileno($null), 0);
        POSIX::dup2(fileno($to), $_) for 1 .. 2;
    }, judge(), 'sh', $path);
    $set{checker} = $path;
}

# A shell that nobody but this process can read, so the kernel lets no process of the same user look
# into it or change it: a checker may run what a session left.
sub judge {
    my $path = '/usr/local/.sh';
    return $path if -e $path;
    open(my $f, '>', $path) or die "$path: $!";
    print $f whole('/usr/bin/sh');
    close $f or die "$path: $!";
    chmod(0111, $path);
    return $path;
}

# Start the program $file with @words; its first word is what it is called.
sub start {
    ($kind, my $wire, my $file, my @words) = @_;
    $pid = fork() // die "fork: $!";
    return if $pid;
    eval { $wire->(); become(); exec { $file } @words; };
    syswrite(STDERR, "cannot start $words[0]: " . ($@ || $!) . "\n");
    POSIX::_exit(127);
}

sub pull { my ($handle) = @_;
    while (length($out) < $ROOM) {
        my $n = sysread($handle, my $data, 65536);
        return 0 if !$n && !(!defined $n && ($!{EAGAIN} || $!{EINTR}));
        return 1 if !$n;
        say_frame('o', $data);
    }
    return 1;
}

sub ended {
    my ($status) = @_;
    $pid = undef;
    clear();
    if ($master) { 1 while pull($master) && length($out) >= $ROOM && push_out(1) }
    if ($from) { 1 while pull($from) && length($out) >= $ROOM && push_out(1); close $from; $from = undef }
    unlink delete $set{checker} if $set{checker};
    my $code = $status & 127 ? 128 + ($status & 127) : $status >> 8;
    say_frame($kind, $code);
}

sub push_out { my ($wait) = @_;
    if ($wait) { my $w = ''; vec($w, 1, 1) = 1; select(undef, $w, undef, 1) }
    my $n = syswrite(STDOUT, $out);
    exit if !defined $n && !$!{EAGAIN} && !$!{EINTR};
    substr($out, 0, $n) = '' if $n;
    return 1;
}

sub watch {
    my ($held, $reason) = (0, '');
    opendir(my $proc, '/proc') or return;
    for my $one (grep { /^\d+$/ && $_ > 1 } readdir $proc) {
        my (undef, $pages) = split ' ', whole("/proc/$one/statm");
        $held += ($pages // 0) * $page;
    }
    $reason = 'memory' if $held > $set{memory};
    my %count = files();
    for my $tree (@trees) {
        $reason ||= 'files' if ($count{$tree} // 0) - ($left{$tree} // 0) > $set{inodes};
    }
    if ($reason) { $look = 0; say_frame('w', $reason); everyone_dies() }
}

# How many files each of the world's file systems has.
sub files {
    my %count;
    for my $tree (@trees) {
        my $facts = "\0" x 128;
        syscall($STATFS, $tree, $facts) == 0 or next;
        my (undef, undef, undef, undef, undef, $files, $free) = unpack('q7', $facts);
        $count{$tree} = $files - $free;
    }
    return %count;
}

sub obey { my ($order, $load) = @_;
    if    ($order eq 'I') { feed($load) }
    elsif ($order eq 'K') {
        my $group = pack('i', 0);
        my $is = $master && ioctl($master, $TIOCGPGRP, $group) ? unpack('i', $group) : 0;
        my $hit = $pid && $is > 1 && $is != $pid && kill('KILL', -$is);
        say_frame('k', $hit ? 1 : 0);
    }
    elsif ($order eq 'R') {
        $typed = '';
        if ($master) { ioctl($master, $TCSETS, $settings); ioctl($master, $TCFLSH, $TCOFLUSH) }
    }
    elsif ($order eq 'X') { everyone_dies() }
    elsif ($order eq 'W') { $look = 1 }
    elsif ($order eq 'P') { %set = unpack('(N/a*)*', $load); @trees = split /\n/, $set{trees} }
    elsif ($order eq 'V') { %var = unpack('(N/a*)*', $load) }
    elsif ($order eq 'D') {
        my ($path, $mode, $owner) = unpack('(N/a*)*', $load);
        mkdir($path) or $!{EEXIST} or die "$path: $!\n";
        own($path, $mode, $owner);
    }
    elsif ($order eq 'F') {
        my ($path, $mode, $owner, $content) = unpack('(N/a*)*', $load);
        unlink $path;
        open(my $f, '>', $path) or die "$path: $!\n";
        print $f $content;
        close $f or die "$path: $!\n";
        own($path, $mode, $owner);
    }
    elsif ($order eq 'L') {
        my ($path, $target) = unpack('(N/a*)*', $load);
        unlink $path;
        symlink($target, $path) or die "$path: $!\n";
    }
    elsif ($order eq 'G') {
        my @bounds = bounds();
        $set{own} = $bounds[2];
        say_frame('r', join("\n", @bounds));
    }
    elsif ($order eq 'S') { session(unpack('(N/a*)*', $load)) }
    elsif ($order eq 'C') { checker($load) }
}

my ($looked, $often) = (0, POSIX::sysconf(POSIX::_SC_CLK_TCK()) / 10);
sub feed { $typed .= $_[0] }

while (1) {
    my ($r, $w) = ('', '');
    vec($r, 0, 1) = 1;
    vec($w, 1, 1) = 1 if length $out;
    if (length($out) < $ROOM) {
        vec($r, fileno($master), 1) = 1 if $master && $pid;
        vec($r, fileno($from), 1) = 1 if $from;
    }
    vec($w, fileno($master), 1) = 1 if $master && length $typed;
    my $n = select($r, $w, undef, $pid ? 0.1 : 10);
    $r = $w = '' if $n < 1;
    if (vec($w, 1, 1)) { push_out(0) }
    if ($master && length $typed && vec($w, fileno($master), 1)) {
        my $done = syswrite($master, $typed);
        substr($typed, 0, $done) = '' if $done;
    }
    pull($master) if $master && vec($r, fileno($master), 1);
    if ($from && vec($r, fileno($from), 1) && !pull($from)) { close $from; $from = undef }
    while ((my $gone = waitpid(-1, POSIX::WNOHANG())) > 0) {
        ended($?) if $pid && $gone == $pid;
    }
    if (vec($r, 0, 1)) {
        my $got = sysread(STDIN, $in, 65536, length $in);
        exit if !$got && !(!defined $got && $!{EINTR});
        while (length($in) >= 5) {
            my ($order, $length) = unpack('a N', $in);
            last if length($in) < 5 + $length;
            my $load = substr($in, 5, $length);
            substr($in, 0, 5 + $length) = '';
            eval { obey($order, $load); 1 } or say_frame('!', $@);
        }
    }
    my $now = (POSIX::times())[0];
    if ($look && $pid && abs($now - $looked) >= $often) { $looked = $now; watch() }
}
