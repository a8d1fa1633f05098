#!/usr/bin/perl
# Client and worker on Gearman::Client and Gearman::Worker, for tests/clients.
# The same four modes as libgearman.c: do, worker, loop, checks.
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
    # A function with a timeout, in seconds: CAN_DO_TIMEOUT.
    $worker->register_function(guarded => 30, sub { "guarded" });
    $worker->work while 1;
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

sub checks {
    my ($servers) = @_;
    my $client = client($servers);
    my $large = join '', map { chr(($_ * 31 + $_ / 251) % 256) } 0 .. (1 << 20) - 1;
    for my $workload ("Hello World!", "\0\1\0\2", $large) {
        my $result = $client->do_task(reverse => $workload);
        hold($result && $$result eq scalar reverse($workload), "reverse");
    }
    for my $priority (qw(high normal low)) {
        my $result = $client->do_task(reverse => $priority, { priority => $priority });
        hold($result && $$result eq scalar reverse($priority), "reverse, $priority");
    }
    hold(${ $client->do_task(guarded => '') } eq 'guarded', "a function with a timeout");
    passed("foreground");

    my (@seen, $failed);
    my $result = $client->do_task(pieces => 'x', {
        on_data    => sub { push @seen, "data:" . ${ $_[0] } },
        on_warning => sub { push @seen, "warning:" . ${ $_[0] } },
        on_status  => sub { push @seen, "status:$_[0]/$_[1]" },
    });
    hold("@seen $$result" eq "data:one, warning:careful status:1/2 data:two, three", "@seen");
    passed("pieces");
    hold(!defined $client->do_task(fails => 'x', { on_fail => sub { $failed++ } }) && $failed, "a failed job");
    passed("failure");

    my $caught;
    my $listening = client($servers, exceptions => 1);
    $listening->do_task(throws => 'x', { on_exception => sub { $caught = $_[0] } });
    hold(defined $caught && $caught eq "broken\0pipe", "exception");
    passed("exceptions");

    my %results;
    my $tasks = $client->new_task_set;
    for my $i (0 .. 499) {
        $tasks->add_task(reverse => "job $i", { uniq => "u$i", on_complete => sub { $results{$i} = ${ $_[0] } } });
    }
    $tasks->wait(timeout => 60);
    for my $i (0 .. 499) {
        hold(defined $results{$i} && $results{$i} eq scalar reverse("job $i"), "task $i of 500");
    }
    passed("parallel");

    my $file = getcwd() . "/release";
    my $handle = $client->dispatch_background(until_file => $file, { uniq => '-' });
    hold($handle =~ m{//H:}, "a handle");
    hold($client->dispatch_background(until_file => $file, { uniq => '-' }) eq $handle, "one workload, one job");
    patiently("the job runs", sub {
        my $status = $client->get_status($handle);
        return $status && $status->known && $status->running && "@{ $status->progress || [] }" eq '3 7';
    });
    open my $release, '>', $file or die "$file: $!";
    close $release;
    patiently("the job ends", sub { !$client->get_status($handle)->known });
    passed("background, status and coalescing");

    my $status = $client->get_job_server_status;
    hold($status->{$servers}{reverse}{capable} >= 1, "workers in status");
    hold(ref $client->get_job_server_jobs   eq 'HASH', "the answer to `jobs`");
    hold(ref $client->get_job_server_clients eq 'HASH', "the answer to `clients`");
    passed("admin");
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
elsif ($mode eq 'checks') { checks($servers) }
else                      { hold(0, "unknown mode $mode") }
