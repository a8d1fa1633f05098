<?php
// Client and worker on php-gearman, for tests/clients. The same four modes as
// libgearman.c: do, worker, loop, checks.

const PATIENCE = 6000; // times ten milliseconds

function hold(bool $condition, string $what): void
{
    if (!$condition) {
        fwrite(STDERR, "not ok: $what\n");
        exit(1);
    }
}

function passed(string $name): void
{
    echo "ok $name\n";
}

function patiently(string $what, callable $condition): void
{
    for ($i = 0; !$condition(); $i++) {
        hold($i < PATIENCE, $what);
        usleep(10000);
    }
}

function client(string $servers, bool $exceptions = true): GearmanClient
{
    $client = new GearmanClient();
    $client->addServers($servers, $exceptions);
    $client->setTimeout(PATIENCE * 10);
    return $client;
}

function serve(string $servers, string $name): void
{
    $worker = new GearmanWorker();
    $worker->addServers($servers);
    $worker->setId($name);
    $worker->addFunction("reverse", fn ($job) => strrev($job->workload()));
    $worker->addFunction("unique_of", fn ($job) => $job->unique());
    $worker->addFunction("fails", fn ($job) => $job->sendFail());
    $worker->addFunction("throws", fn ($job) => $job->sendException("broken\0pipe"));
    $worker->addFunction("pieces", function ($job) {
        $job->sendData("one,");
        $job->sendWarning("careful");
        $job->sendStatus(1, 2);
        $job->sendData("two,");
        return "three";
    });
    $worker->addFunction("until_file", function ($job) {
        $job->sendStatus(3, 7);
        patiently("the file comes", function () use ($job) {
            clearstatcache();
            return file_exists($job->workload());
        });
        return "done";
    });
    while (true) {
        // An error means that one server went; the next call connects again.
        if (!@$worker->work()) {
            usleep(10000);
        }
    }
}

// A foreground job with all of its WORK_DATA in front of the result.
function run(GearmanClient $client, string $function, string $workload): ?string
{
    $result = "";
    do {
        $part = @$client->doNormal($function, $workload);
        $code = $client->returnCode();
        if ($code === GEARMAN_SUCCESS || $code === GEARMAN_WORK_DATA) {
            $result .= $part;
        }
    } while (in_array($code, [GEARMAN_WORK_DATA, GEARMAN_WORK_WARNING, GEARMAN_WORK_STATUS], true));
    return $code === GEARMAN_SUCCESS ? $result : null;
}

function loop(string $servers, string $function, int $count): void
{
    $client = null;
    for ($i = 1; $i <= $count; $i++) {
        $result = null;
        patiently("job $i succeeds", function () use (&$client, $servers, $function, $i, &$result) {
            // Asking for exceptions would connect to every server at once, and
            // throw when one of them is gone.
            $client ??= client($servers, false);
            // Connected to two servers, libgearman now and then polls only the
            // wrong one; and it is of no use after a timeout.
            $client->setTimeout(2000);
            $result = run($client, $function, (string)$i);
            if ($result === null) {
                fwrite(STDERR, "job $i again: {$client->error()}\n");
                $client = null;
            }
            return $result !== null;
        });
        echo "$i -> $result\n";
        usleep(10000);
    }
}

function checks(string $servers): void
{
    $client = client($servers);
    hold($client->ping("a\0b\xff"), "ping");
    passed("echo");

    $large = random_bytes(1 << 20);
    // Not an empty one: this extension refuses to send it.
    foreach (["Hello World!", "\0\1\0\2", $large] as $workload) {
        hold(run($client, "reverse", $workload) === strrev($workload), "reverse");
    }
    hold($client->doHigh("unique_of", "x", "mine") === "mine", "doHigh with a unique");
    hold($client->doLow("unique_of", "x", "yours") === "yours", "doLow with a unique");
    passed("foreground");

    hold(run($client, "pieces", "x") === "one,two,three", "pieces");
    hold(run($client, "fails", "x") === null && $client->returnCode() === GEARMAN_WORK_FAIL, "a failed job");
    passed("pieces and failure");

    $seen = [];
    $note = function (string $what) use (&$seen) {
        return function ($task) use (&$seen, $what) {
            $seen[] = $what . ":" . $task->data();
        };
    };
    $tasks = client($servers);
    $tasks->setCreatedCallback(function ($task) use (&$seen) {
        $seen[] = "created";
    });
    $tasks->setDataCallback($note("data"));
    $tasks->setWarningCallback($note("warning"));
    $tasks->setStatusCallback(function ($task) use (&$seen) {
        $seen[] = "status:{$task->taskNumerator()}/{$task->taskDenominator()}";
    });
    $tasks->setCompleteCallback($note("complete"));
    $tasks->setExceptionCallback($note("exception"));
    $tasks->setFailCallback($note("fail"));
    $tasks->addTask("pieces", "x");
    hold($tasks->runTasks(), "runTasks");
    hold($seen === ["created", "data:one,", "warning:careful", "status:1/2", "data:two,", "complete:three"], json_encode($seen));
    passed("callbacks");
    $seen = [];
    $tasks->addTask("throws", "x");
    @$tasks->runTasks();
    hold($seen === ["created", "exception:broken\0pipe"], "exception: " . json_encode($seen));
    passed("exceptions");

    $results = [];
    $many = client($servers);
    $many->setCompleteCallback(function ($task, $context) use (&$results) {
        $results[$context] = $task->data();
    });
    $priorities = ["addTask", "addTaskHigh", "addTaskLow"];
    for ($i = 0; $i < 500; $i++) {
        $many->{$priorities[$i % 3]}("reverse", "job $i", $i);
    }
    hold($many->runTasks(), "runTasks with 500 tasks");
    for ($i = 0; $i < 500; $i++) {
        hold(($results[$i] ?? null) === strrev("job $i"), "task $i of 500");
    }
    passed("parallel");

    $file = getcwd() . "/release";
    $handle = $client->doBackground("until_file", $file, "a unique");
    hold(str_starts_with($handle, "H:"), "a handle");
    hold($client->doBackground("until_file", $file, "a unique") === $handle, "one unique, one job");
    patiently("the job runs", fn () => $client->jobStatus($handle) === [true, true, 3, 7]);
    touch($file);
    patiently("the job ends", fn () => $client->jobStatus($handle)[0] === false);
    passed("background, status and coalescing");

    foreach (["doHighBackground", "doLowBackground"] as $method) {
        $handle = $client->$method("reverse", "x");
        patiently("$method ends", fn () => $client->jobStatus($handle)[0] === false);
    }
    passed("background priorities");
}

[, $mode, $servers] = $argv;
match ($mode) {
    "do" => print run(client($servers), $argv[3], stream_get_contents(STDIN)) ?? exit(1),
    "worker" => serve($servers, $argv[3]),
    "loop" => loop($servers, $argv[3], (int)$argv[4]),
    "checks" => checks($servers),
};
