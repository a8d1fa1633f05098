"""Client and worker on gear, for tests/clients.

The same four modes as libgearman.c: do, worker, loop, client.
"""

import os
import sys
import threading
import time

import gear

PATIENCE = 60


def hold(condition, what):
    if not condition:
        print("not ok:", what, file=sys.stderr, flush=True)
        # gear's threads would keep the interpreter alive.
        os._exit(1)


def passed(name):
    print("ok", name, flush=True)


def patiently(what, condition):
    end = time.monotonic() + PATIENCE
    while not condition():
        hold(time.monotonic() < end, what)
        time.sleep(0.01)


def connect(client, servers):
    for server in servers.split(","):
        host, port = server.rsplit(":", 1)
        client.addServer(host, int(port))
    client.waitForServer(PATIENCE)
    return client


class Job(gear.Job):
    """A job that can be waited for."""

    def __init__(self, name, arguments, unique=None):
        super().__init__(name.encode(), arguments, unique)
        self.finished = threading.Event()

    def wait(self):
        hold(self.finished.wait(PATIENCE), "%r comes to an end" % self)
        return self


class Client(gear.Client):
    def _finish(self, job):
        job.finished.set()
        return job

    def handleWorkComplete(self, packet):
        return self._finish(super().handleWorkComplete(packet))

    def handleWorkFail(self, packet):
        return self._finish(super().handleWorkFail(packet))

    def handleWorkException(self, packet):
        return self._finish(super().handleWorkException(packet))

    def handleDisconnect(self, job):
        job.lost = True
        self._finish(job)

    def run(self, name, arguments, **options):
        job = Job(name, arguments, options.pop("unique", None))
        self.submitJob(job, **options)
        return job.wait()


def until_file(job):
    job.sendWorkStatus(3, 7)
    patiently("the file comes", lambda: os.path.exists(job.arguments))
    job.sendWorkComplete(b"done")


def pieces(job):
    job.sendWorkData(b"one,")
    job.sendWorkWarning(b"careful")
    job.sendWorkStatus(1, 2)
    job.sendWorkData(b"two,")
    job.sendWorkComplete(b"three")


def touch(job):
    open(job.arguments, "w").close()
    job.sendWorkComplete(b"")


def guarded(job):
    if not os.path.exists(job.arguments):
        # The first run never ends; the server is to take the job back.
        open(job.arguments, "w").close()
        time.sleep(3600)
    job.sendWorkComplete(b"second")


def record(job):
    with open("recorded", "ab") as file:
        file.write(job.arguments + b"\n")
    job.sendWorkComplete(b"")


def version(job):
    # A text command on the worker's own connection, with a job in flight.
    request = gear.VersionAdminRequest()
    job.connection.sendAdminRequest(request)
    job.sendWorkComplete(request.response)


FUNCTIONS = {
    "reverse": lambda job: job.sendWorkComplete(job.arguments[::-1]),
    "unique_of": lambda job: job.sendWorkComplete(job.unique or b""),
    "fails": lambda job: job.sendWorkFail(),
    "throws": lambda job: job.sendWorkException(b"broken\0pipe"),
    "pieces": pieces,
    "until_file": until_file,
    "version": version,
    "touch": touch,
    "guarded": guarded,
    "record": record,
    "temporary": lambda job: job.sendWorkComplete(b""),
    "withdraw": lambda job: job.sendWorkComplete(b""),
    "forget": lambda job: job.sendWorkComplete(b""),
}


def serve(servers, name):
    worker = connect(gear.Worker(name), servers)
    for function in FUNCTIONS:
        worker.registerFunction(function, b"1000" if function == "guarded" else None)
    while True:
        job = worker.getJob()
        try:
            FUNCTIONS[job.name](job)
        except Exception as error:
            # The server of this job went; another gives it again.
            print("lost:", error, file=sys.stderr, flush=True)
        if job.name == "withdraw":
            worker.unRegisterFunction("temporary")
        elif job.name == "forget":
            worker.setFunctions([])


def loop(servers, function, count):
    client = connect(Client("loop"), servers)
    for number in range(1, int(count) + 1):
        while True:
            try:
                job = client.run(function, b"%d" % number)
                if not job.failure and not hasattr(job, "lost"):
                    break
                error = "lost"
            except (gear.GearmanError, gear.NoConnectedServersError) as failure:
                error = failure
            print("job", number, "again:", error, file=sys.stderr, flush=True)
            time.sleep(0.01)
        print(number, "->", b"".join(job.data).decode(), flush=True)
        time.sleep(0.01)


def do(servers, function):
    job = connect(Client("do"), servers).run(function, sys.stdin.buffer.read())
    hold(job.complete and not job.failure, "the job succeeds")
    sys.stdout.buffer.write(b"".join(job.data))
    sys.stdout.flush()


def status_of(client, job):
    client.sendPacket(
        gear.Packet(gear.constants.REQ, gear.constants.GET_STATUS, job.handle), job.connection
    )


def ask(client, request):
    client.active_connections[0].sendAdminRequest(request, PATIENCE)
    return request.response


def reversed_by(client, workload, **options):
    job = client.run("reverse", workload, **options)
    hold(b"".join(job.data) == workload[::-1], "reverse")


def urgency(client, *_):
    for precedence in (gear.PRECEDENCE_HIGH, gear.PRECEDENCE_LOW):
        reversed_by(client, b"a job", precedence=precedence)


def stream(client, *_):
    job = client.run("pieces", b"")
    # gear files the text of a warning with the data.
    hold(job.data == [b"one,", b"careful", b"two,", b"three"] and job.warning, "pieces: %r" % job.data)
    hold((job.numerator, job.denominator) == (b"1", b"2"), "progress")


def exception(client, *_):
    hold(client.setOption("exceptions"), "the option exceptions")
    hold(client.run("throws", b"").exception == b"broken\0pipe", "exception")


def unasked_exception(client, *_):
    job = client.run("throws", b"")
    hold(job.failure and not job.exception, "an exception is a failure to those that do not ask")


def queue(client, *_):
    for turn in (b"1", b"2"):
        client.submitJob(Job("record", b"low " + turn), True, gear.PRECEDENCE_LOW)
        client.submitJob(Job("record", b"normal " + turn), True)
        client.submitJob(Job("record", b"high " + turn), True, gear.PRECEDENCE_HIGH)


def background(client, path, _):
    client.submitJob(Job("touch", path.encode()), background=True)
    patiently("the job runs", lambda: os.path.exists(path))


def many(client, *_):
    jobs = [Job("reverse", b"job %d" % number) for number in range(int(os.environ["JOBS"]))]
    for job in jobs:
        client.submitJob(job)
    for number, job in enumerate(jobs):
        hold(b"".join(job.wait().data) == (b"job %d" % number)[::-1], "job %d" % number)


def handles(servers, *jobs):
    for job in jobs:
        # From a client of its own: gear's keeps one job for each handle.
        connect(Client("handles"), servers).submitJob(job, background=True)
    return [job.handle for job in jobs]


def coalescing(_client, _path, servers):
    first, second, other = handles(
        servers,
        Job("queued", b"one", b"same"),
        Job("queued", b"two", b"same"),
        Job("queued too", b"two", b"same"),
    )
    hold(first == second, "one unique, one job")
    hold(first != other, "another function, another job")


def workload_coalescing(_client, _path, servers):
    first, second, other = handles(
        servers,
        Job("queued", b"one workload", b"-"),
        Job("queued", b"one workload", b"-"),
        Job("queued", b"another", b"-"),
    )
    hold(first == second, "one workload, one job")
    hold(first != other, "another workload, another job")


def status(client, path, _):
    job = Job("until_file", path.encode(), b"followed")
    client.submitJob(job)
    patiently("the job runs", lambda: (status_of(client, job), job.running)[1])
    patiently("it tells of its progress", lambda: (job.numerator, job.denominator) == (b"3", b"7"))
    open(path, "w").close()
    hold(job.wait().data == [b"done"], "the job ends")


def takes_back(client, path, _):
    hold(client.run("guarded", path.encode()).data == [b"second"], "the second run's result")


def admin(client, *_):
    queued = Job("served by nobody", b"", b"cancelled")
    client.submitJob(queued, background=True)
    jobs = ask(client, gear.ShowJobsAdminRequest())
    hold(queued.handle in jobs, "show jobs: %r" % jobs)
    hold(b"cancelled\n" in ask(client, gear.ShowUniqueJobsAdminRequest()), "show unique jobs")
    hold(ask(client, gear.VersionAdminRequest()).startswith(b"OK "), "version")
    hold(b"reverse\t" in ask(client, gear.StatusAdminRequest()), "status")
    hold(b" : " in ask(client, gear.WorkersAdminRequest()), "workers")
    hold(ask(client, gear.CancelJobAdminRequest(queued.handle)).startswith(b"OK"), "cancel job")
    reversed_by(client, b"binary after text")


def worker_text(client, *_):
    hold(client.run("version", b"").data[0].startswith(b"OK "), "a worker's own text command")
    reversed_by(client, b"binary after text")


FEATURES = {
    "foreground": lambda client, *_: reversed_by(client, b"Hello World!"),
    "binary": lambda client, *_: reversed_by(client, bytes(range(256))),
    "empty": lambda client, *_: reversed_by(client, b""),
    "large": lambda client, *_: reversed_by(client, os.urandom(1 << 20)),
    "urgency": urgency,
    "stream": stream,
    "failure": lambda client, *_: hold(client.run("fails", b"").failure, "a failed job"),
    "exception": exception,
    "unasked_exception": unasked_exception,
    "unknown_option": lambda client, *_: hold(not client.setOption("nonsense"), "an unknown option"),
    "unique": lambda client, *_: hold(client.run("unique_of", b"", unique=b"mine").data == [b"mine"], "the unique"),
    "queue": queue,
    "background": background,
    "many": many,
    "coalescing": coalescing,
    "workload_coalescing": workload_coalescing,
    "status": status,
    "takes_back": takes_back,
    "admin": admin,
    "worker_text": worker_text,
}


def features(servers, *names):
    for name in names:
        FEATURES[name](connect(Client(name), servers), os.path.join(os.getcwd(), name), servers)
        passed(name)


mode, arguments = sys.argv[1], sys.argv[2:]
{"do": do, "worker": serve, "loop": loop, "client": features}[mode](*arguments)
sys.stdout.flush()
os._exit(0)
