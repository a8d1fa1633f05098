#!/usr/bin/perl
# Client and worker on Gearman::Client and Gearman::Worker, for tests/clients.
# The same four modes as libgearman.c: do, worker, loop, client.
use strict;
use warnings;
use Cwd qw(getcwd);
use Gearman::Client;
use Gearman::Worker;
use Storable ();

use constant PATIENCE => 6000;    # times ten milliseconds

$| = 1;
# Writing to a server that has gone is an error to handle, not a reason to die.
$SIG{PIPE} = 'IGNORE';
binmode STDIN;
binmode STDOUT;

sub hold {
    my ($condition, $what) = @_;
    return if $condition;
    print STDERR "not ok: $what\n";
    exit 1;
}

sub passed { print "ok $_[0]\n" }

sub nap { select undef, undef, undef, 0.01 }

sub patiently {
    my ($what, $condition) = @_;
    for (my $i = 0; !$condition->(); $i++) {
        hold($i < PATIENCE, $what);
        nap();
    }
}

sub touch {
    open my $file, '>', $_[0] or die "$_[0]: $!";
}

sub client {
    my ($servers, @options) = @_;
    return Gearman::Client->new(job_servers => [split /,/, $servers], @options);
}

sub serve {
    my ($servers, $name) = @_;
    my $worker = Gearman::Worker->new(job_servers => [split /,/, $servers], client_id => $name);
    $worker->register_function(reverse => sub { scalar reverse $_[0]->arg });
    $worker->register_function(fails   => sub { undef });
    $worker->register_function(throws  => sub {
        my ($job) = @_;
        $worker->send_work_exception($job, "broken\0pipe");
        return;
    });
    $worker->register_function(pieces => sub {
        my ($job) = @_;
        $worker->send_work_data($job, "one,");
        $worker->send_work_warning($job, "careful");
        $job->set_status(1, 2);
        $worker->send_work_data($job, "two,");
        return "three";
    });
    $worker->register_function(until_file => sub {
        my ($job) = @_;
        $job->set_status(3, 7);
        patiently("the file comes", sub { -e $job->arg });
        return "done";
    });
    $worker->register_function(touch => sub { touch($_[0]->arg); 'made' });
    # A function with a timeout, CAN_DO_TIMEOUT: the library takes seconds for what servers take for milliseconds.
    $worker->register_function(guarded => 1000, sub {
        my ($job) = @_;
        if (!-e $job->arg) {
            # The first run never ends; the server is to take the job back.
            touch($job->arg);
            sleep 3600;
        }
        return 'second';
    });
    $worker->register_function(record => sub {
        open my $file, '>>', 'recorded' or die "recorded: $!";
        print $file $_[0]->arg, "\n";
        return 'noted';
    });
    $worker->register_function(temporary => sub { 'done' });
    my $next = '';
    for my $function (qw(withdraw forget)) {
        $worker->register_function($function => sub { $next = $function });
    }
    while (1) {
        $worker->work(stop_if => sub { $next });
        $worker->unregister_function('temporary') if $next eq 'withdraw';
        $worker->reset_abilities                  if $next eq 'forget';
        $next = '';
    }
}

sub loop {
    my ($servers, $function, $count) = @_;
    my $client = client($servers);
    for my $i (1 .. $count) {
        my $result;
        patiently("job $i succeeds", sub {
            # The library dies when a server goes in the middle of a task.
            $result = eval { $client->do_task($function, $i, { timeout => 30 }) };
            print STDERR "job $i again: $@\n" unless defined $result;
            return defined $result;
        });
        print "$i -> $$result\n";
        nap();
    }
}

sub queue {
    my ($client) = @_;
    for my $turn (1, 2) {
        for my $priority (qw(low normal high)) {
            $client->dispatch_background(record => "$priority $turn", { priority => $priority });
        }
    }
}

sub many {
    my ($client, %results) = @_;
    my $last  = $ENV{JOBS} - 1;
    my $tasks = $client->new_task_set;
    for my $i (0 .. $last) {
        $tasks->add_task(reverse => "job $i", { uniq => "u$i", on_complete => sub { $results{$i} = ${ $_[0] } } });
    }
    $tasks->wait(timeout => 60);
    for my $i (0 .. $last) {
        hold(defined $results{$i} && $results{$i} eq scalar reverse("job $i"), "task $i");
    }
}

sub status {
    my ($client, $file) = @_;
    my $handle = $client->dispatch_background(until_file => $file, { uniq => 'followed' });
    hold($handle =~ m{//H:}, "a handle");
    patiently("the job runs", sub {
        my $status = $client->get_status($handle);
        return $status && $status->known && $status->running && "@{ $status->progress || [] }" eq '3 7';
    });
    touch($file);
    patiently("the job ends", sub { !$client->get_status($handle)->known });
}

sub reversed {
    my ($client, $workload, %options) = @_;
    my $result = $client->do_task(reverse => $workload, \%options);
    hold($result && $$result eq scalar reverse($workload), "reverse");
}

my %features = (
    foreground => sub { reversed($_[0], 'Hello World!') },
    binary     => sub { reversed($_[0], join '', map { chr } 0 .. 255) },
    empty      => sub { reversed($_[0], '') },
    large      => sub { reversed($_[0], join '', map { chr(($_ * 31 + $_ / 251) % 256) } 0 .. (1 << 20) - 1) },
    urgency    => sub { reversed($_[0], $_, priority => $_) for qw(high low) },
    stream     => sub {
        my @seen;
        my $result = $_[0]->do_task(pieces => 'x', {
            on_data    => sub { push @seen, "data:" . ${ $_[0] } },
            on_warning => sub { push @seen, "warning:" . ${ $_[0] } },
            on_status  => sub { push @seen, "status:$_[0]/$_[1]" },
        });
        hold("@seen $$result" eq "data:one, warning:careful status:1/2 data:two, three", "@seen");
    },
    failure => sub {
        my $failed;
        hold(!defined $_[0]->do_task(fails => 'x', { on_fail => sub { $failed++ } }) && $failed, "a failed job");
    },
    exception => sub {
        my (undef, undef, $servers) = @_;
        my $caught;
        client($servers, exceptions => 1)->do_task(throws => 'x', { on_exception => sub { $caught = $_[0] } });
        hold(defined $caught && $caught eq "broken\0pipe", "exception");
    },
    unasked_exception => sub {
        my ($failed, $caught) = (0, 0);
        $_[0]->do_task(throws => 'x', { on_fail => sub { $failed++ }, on_exception => sub { $caught++ } });
        hold($failed == 1 && $caught == 0, "an exception is a failure: $failed, $caught");
    },
    unique     => sub { hold(${ $_[0]->do_task(unique_of => 'x', { uniq => 'mine' }) } eq 'mine', "the unique") },
    queue      => \&queue,
    background => sub {
        my ($client, $file) = @_;
        $client->dispatch_background(touch => $file);
        patiently("the job runs", sub { -e $file });
    },
    many       => \&many,
    coalescing => sub {
        my ($client) = @_;
        my $handle = $client->dispatch_background(queued => 'one', { uniq => 'same' });
        hold($client->dispatch_background(queued => 'two', { uniq => 'same' }) eq $handle, "one unique, one job");
        my $other = $client->dispatch_background('queued too' => 'two', { uniq => 'same' });
        hold($other ne $handle, "another function, another job");
    },
    workload_coalescing => sub {
        my ($client) = @_;
        my $handle = $client->dispatch_background(queued => 'one workload', { uniq => '-' });
        my $again = $client->dispatch_background(queued => 'one workload', { uniq => '-' });
        hold($again eq $handle, "one workload, one job");
        my $other = $client->dispatch_background(queued => 'another', { uniq => '-' });
        hold($other ne $handle, "another workload, another job");
    },
    status         => \&status,
    client_timeout => sub {
        my $result = $_[0]->do_task('served by nobody' => 'x', { timeout => 0.2 });
        hold(!defined $result, "a client need not wait for ever");
    },
    takes_back => sub {
        my ($client, $file) = @_;
        hold(${ $client->do_task(guarded => $file) } eq 'second', "the second run's result");
    },
    admin => sub {
        my ($client, undef, $servers) = @_;
        my $status = $client->get_job_server_status;
        hold($status->{$servers}{reverse}{capable} >= 1, "workers in status");
        hold(ref $client->get_job_server_jobs    eq 'HASH', "the answer to `jobs`");
        hold(ref $client->get_job_server_clients eq 'HASH', "the answer to `clients`");
    },
);

sub features {
    my ($servers, @names) = @_;
    for my $name (@names) {
        my $feature = $features{$name};
        hold($feature, "there is a feature $name");
        $feature->(client($servers), getcwd() . "/$name", $servers);
        passed($name);
    }
}

my ($mode, $servers, @rest) = @ARGV;
if ($mode eq 'do') {
    local $/;
    my $result = client($servers)->do_task($rest[0], scalar <STDIN>);
    hold(defined $result, "the job succeeds");
    print $$result;
}
elsif ($mode eq 'worker') { serve($servers, @rest) }
elsif ($mode eq 'loop')   { loop($servers, @rest) }
elsif ($mode eq 'client') { features($servers, @rest) }
else                      { hold(0, "unknown mode $mode") }
