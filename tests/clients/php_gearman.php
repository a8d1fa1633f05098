<?php
// Client and worker on php-gearman, for tests/clients. The same four modes as
// libgearman.c: do, worker, loop, client.

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
    $worker->addFunction("touch", fn ($job) => touch($job->workload()) ? "" : null);
    $worker->addFunction("guarded", function ($job) {
        if (!file_exists($job->workload())) {
            // The first run never ends; the server is to take the job back.
            touch($job->workload());
            sleep(3600);
        }
        return "second";
    }, null, 1000);
    $worker->addFunction("record", function ($job) {
        file_put_contents("recorded", $job->workload() . "\n", FILE_APPEND);
        return "";
    });
    $worker->addFunction("temporary", fn ($job) => "");
    $next = "";
    foreach (["withdraw", "forget"] as $function) {
        $worker->addFunction($function, function ($job) use (&$next, $function) {
            $next = $function;
            return "";
        });
    }
    while (true) {
        // An error means that one server went; the next call connects again.
        if (!@$worker->work()) {
            usleep(10000);
        }
        match ($next) {
            "withdraw" => $worker->unregister("temporary"),
            "forget" => $worker->unregisterAll(),
            default => null,
        };
        $next = "";
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

// What a client hears of a task, callback by callback.
function heard(GearmanClient $client, string $function, bool $exceptions = true): array
{
    $seen = [];
    $note = function (string $what) use (&$seen) {
        return function ($task) use (&$seen, $what) {
            $seen[] = $what . ":" . $task->data();
        };
    };
    $client->setCreatedCallback(function ($task) use (&$seen) {
        $seen[] = "created";
    });
    $client->setDataCallback($note("data"));
    $client->setWarningCallback($note("warning"));
    $client->setStatusCallback(function ($task) use (&$seen) {
        $seen[] = "status:{$task->taskNumerator()}/{$task->taskDenominator()}";
    });
    $client->setCompleteCallback($note("complete"));
    if ($exceptions) {
        // Asks the server for them.
        $client->setExceptionCallback($note("exception"));
    }
    $client->setFailCallback(function ($task) use (&$seen) {
        $seen[] = "fail";
    });
    $client->addTask($function, "x");
    @$client->runTasks();
    return $seen;
}

function many(GearmanClient $client): void
{
    $count = (int)getenv("JOBS");
    $results = [];
    $client->setCompleteCallback(function ($task, $context) use (&$results) {
        $results[$context] = $task->data();
    });
    $priorities = ["addTask", "addTaskHigh", "addTaskLow"];
    for ($i = 0; $i < $count; $i++) {
        $client->{$priorities[$i % 3]}("reverse", "job $i", $i);
    }
    hold($client->runTasks(), "runTasks with $count tasks");
    for ($i = 0; $i < $count; $i++) {
        hold(($results[$i] ?? null) === strrev("job $i"), "task $i of $count");
    }
}

// A job that runs until a file comes; $status tells what the server knows of it.
function follow(GearmanClient $client, string $file, string $unique, callable $status): void
{
    $handle = $client->doBackground("until_file", $file, $unique);
    hold(str_starts_with($handle, "H:"), "a handle");
    patiently("the job runs", fn () => $status($handle) === [true, true, 3, 7]);
    touch($file);
    patiently("the job ends", fn () => $status($handle)[0] === false);
}

function feature(string $name, string $servers): void
{
    $client = client($servers);
    $file = getcwd() . "/$name";
    switch ($name) {
        case "echo":
            hold($client->ping("a\0b\xff"), "ping");
            break;
        case "foreground":
            hold(run($client, "reverse", "Hello World!") === "!dlroW olleH", "reverse");
            break;
        case "binary":
            $bytes = implode(array_map(chr(...), range(0, 255)));
            hold(run($client, "reverse", $bytes) === strrev($bytes), "every byte");
            break;
        case "large":
            $large = random_bytes(1 << 20);
            hold(run($client, "reverse", $large) === strrev($large), "a mebibyte");
            break;
        case "stream":
            $expected = ["created", "data:one,", "warning:careful", "status:1/2", "data:two,", "complete:three"];
            $seen = heard($client, "pieces");
            hold($seen === $expected, json_encode($seen));
            hold(run($client, "pieces", "x") === "one,two,three", "pieces");
            break;
        case "failure":
            hold(run($client, "fails", "x") === null && $client->returnCode() === GEARMAN_WORK_FAIL, "a failed job");
            break;
        case "exception":
            $seen = heard($client, "throws");
            hold($seen === ["created", "exception:broken\0pipe"], json_encode($seen));
            break;
        case "unasked_exception":
            $seen = heard(client($servers, false), "throws", false);
            hold($seen === ["created", "fail"], json_encode($seen));
            break;
        case "unique":
            hold($client->doNormal("unique_of", "x", "mine") === "mine", "the unique at the worker");
            break;
        case "urgency":
            hold($client->doHigh("reverse", "high") === "hgih", "doHigh");
            hold($client->doLow("reverse", "low") === "wol", "doLow");
            break;
        case "queue":
            foreach ([1, 2] as $turn) {
                $client->doLowBackground("record", "low $turn");
                $client->doBackground("record", "normal $turn");
                $client->doHighBackground("record", "high $turn");
            }
            break;
        case "background":
            $client->doBackground("touch", $file);
            patiently("the job runs", function () use ($file) {
                clearstatcache();
                return file_exists($file);
            });
            break;
        case "many":
            many($client);
            break;
        case "coalescing":
            $handle = $client->doBackground("queued", "one", "same");
            hold($client->doBackground("queued", "two", "same") === $handle, "one unique, one job");
            hold($client->doBackground("queued too", "two", "same") !== $handle, "another function, another job");
            break;
        case "workload_coalescing":
            $handle = $client->doBackground("queued", "one workload", "-");
            hold($client->doBackground("queued", "one workload", "-") === $handle, "one workload, one job");
            hold($client->doBackground("queued", "another", "-") !== $handle, "another workload, another job");
            break;
        case "status":
            follow($client, $file, "followed", $client->jobStatus(...));
            break;
        case "status_by_unique":
            // Each time another client: this one is of no use after the call.
            follow($client, $file, "a unique", fn () => client($servers)->jobStatusByUniqueKey("a unique"));
            break;
        case "client_timeout":
            $client->setTimeout(200);
            @$client->doNormal("served by nobody", "x");
            hold($client->returnCode() === GEARMAN_TIMEOUT, "a client need not wait for ever");
            break;
        case "takes_back":
            hold(run($client, "guarded", $file) === "second", "the second run's result");
            break;
        default:
            hold(false, "no feature $name");
    }
}

function features(string $servers, array $names): void
{
    foreach ($names as $name) {
        feature($name, $servers);
        passed($name);
    }
}

[, $mode, $servers] = $argv;
match ($mode) {
    "do" => print run(client($servers), $argv[3], stream_get_contents(STDIN)) ?? exit(1),
    "worker" => serve($servers, $argv[3]),
    "loop" => loop($servers, $argv[3], (int)$argv[4]),
    "client" => features($servers, array_slice($argv, 3)),
};
