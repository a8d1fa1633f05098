"""Client and worker on gear, for tests/clients.

The same four modes as libgearman.c: do, worker, loop, checks.
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
}


def serve(servers, name):
    worker = connect(gear.Worker(name), servers)
    for function in FUNCTIONS:
        worker.registerFunction(function, b"30000" if function == "fails" else None)
    while True:
        job = worker.getJob()
        try:
            FUNCTIONS[job.name](job)
        except Exception as error:
            # The server of this job went; another gives it again.
            print("lost:", error, file=sys.stderr, flush=True)


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


def checks(servers, _server):
    client = connect(Client("checks"), servers)
    large = os.urandom(1 << 20)
    for workload in (b"Hello World!", b"\0\1\0\2", b"", large):
        job = client.run("reverse", workload)
        hold(b"".join(job.data) == workload[::-1], "reverse")
    for precedence in (gear.PRECEDENCE_HIGH, gear.PRECEDENCE_NORMAL, gear.PRECEDENCE_LOW):
        job = client.run("unique_of", b"", unique=b"\x01mine", precedence=precedence)
        hold(job.data == [b"\x01mine"], "the unique at the worker")
    passed("foreground")

    job = client.run("pieces", b"")
    # gear files the text of a warning with the data.
    hold(job.data == [b"one,", b"careful", b"two,", b"three"] and job.warning, "pieces: %r" % job.data)
    hold((job.numerator, job.denominator) == (b"1", b"2"), "progress")
    hold(client.run("fails", b"").failure, "a failed job")
    passed("pieces and failure")

    hold(client.run("throws", b"").failure, "an exception is a failure to those that do not ask")
    hold(client.setOption("exceptions"), "the option exceptions")
    hold(client.run("throws", b"").exception == b"broken\0pipe", "exception")
    # Another client: gear's is of no use after a refused option.
    hold(not connect(Client("refused"), servers).setOption("nonsense"), "an unknown option")
    passed("exceptions")

    # Few: gear's worker leaves Nagle's algorithm on and does some 25 jobs a second.
    jobs = [Job("reverse", b"job %d" % number) for number in range(60)]
    for job in jobs:
        client.submitJob(job)
    for number, job in enumerate(jobs):
        hold(b"".join(job.wait().data) == (b"job %d" % number)[::-1], "job %d of 60" % number)
    passed("parallel")

    release = os.path.join(os.getcwd(), "release")
    job, same = Job("until_file", release.encode(), b"same"), Job("until_file", b"elsewhere", b"same")
    client.submitJob(job)
    # From another client: gear's keeps one job for each handle.
    connect(Client("other"), servers).submitJob(same, background=True)
    hold(job.handle == same.handle, "one unique, one job")
    patiently("the job runs", lambda: (status_of(client, job), job.running)[1])
    patiently("it tells of its progress", lambda: (job.numerator, job.denominator) == (b"3", b"7"))
    admin = ask(client, gear.ShowJobsAdminRequest())
    hold(job.handle in admin, "show jobs: %r" % admin)
    hold(b"same\n" in ask(client, gear.ShowUniqueJobsAdminRequest()), "show unique jobs")
    open(release, "w").close()
    hold(job.wait().data == [b"done"], "the job ends")
    passed("status and coalescing")

    hold(ask(client, gear.VersionAdminRequest()).startswith(b"OK "), "version")
    hold(b"reverse\t0\t0\t" in ask(client, gear.StatusAdminRequest()), "status")
    hold(b" python : " in ask(client, gear.WorkersAdminRequest()), "workers")
    queued = Job("served by nobody", b"")
    client.submitJob(queued, background=True)
    hold(ask(client, gear.CancelJobAdminRequest(queued.handle)).startswith(b"OK"), "cancel job")
    hold(client.run("version", b"").data[0].startswith(b"OK "), "a worker's own text command")
    hold(client.run("reverse", b"ab").data == [b"ba"], "binary after text")
    passed("text and binary on one connection")


mode, arguments = sys.argv[1], sys.argv[2:]
{"do": do, "worker": serve, "loop": loop, "checks": checks}[mode](*arguments)
sys.stdout.flush()
os._exit(0)
