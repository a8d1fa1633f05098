//! What a script has brought about so far, as far as the next step depends on it.
//!
//! Learns from what the reference said; it does not predict answers. Its use is
//! to make scripts that get somewhere (results for jobs that the worker really
//! holds) and to see when a step would run into an [`Exception`](super::exceptions::Exception).

use super::pair::Told;
use super::reply::Said;
use super::script::Who;
use gearshard::protocol::packet::Command;

/// A connection.
#[derive(Debug, Default)]
pub struct Peer {
    /// It has neither hung up nor been closed.
    pub open: bool,
    /// What it serves, as indexes into the script's functions.
    pub functions: Vec<usize>,
    /// It sleeps.
    pub asleep: bool,
    /// It was woken and has not grabbed since.
    pub woken: bool,
}

/// Where a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// In a queue; perhaps nobody wants it any more.
    Queued,
    /// With a worker.
    Running(Who),
    /// Gone.
    Over,
}

/// A submit that has not been answered.
#[derive(Clone, Debug)]
pub struct Submission {
    /// Index of the function.
    pub function: usize,
    /// Its unique.
    pub unique: Vec<u8>,
    /// Its workload.
    pub data: Vec<u8>,
    /// Nobody waits for it.
    pub background: bool,
}

/// A job whose handle has appeared.
#[derive(Debug)]
pub struct Job {
    /// How it was submitted first.
    pub submission: Submission,
    /// Some submit of it was a background one.
    pub background: bool,
    /// Who waits for it, once for each submit.
    pub waiting: Vec<Who>,
    /// Where it is.
    pub state: State,
    /// Nobody wants it: cancelled, or all who waited have left.
    pub dead: bool,
    /// Workers lost over it.
    pub attempts: u32,
}

/// All of a script.
#[derive(Debug)]
pub struct Model {
    /// By [`Who`].
    pub peers: Vec<Peer>,
    /// By number of the handle, less one.
    pub jobs: Vec<Job>,
    /// Attempts after which a job is given up.
    pub attempts_max: Option<u32>,
}

impl Model {
    /// Before the first step.
    pub fn new(attempts_max: Option<u32>) -> Self {
        Self { peers: Vec::new(), jobs: Vec::new(), attempts_max }
    }

    /// Connections that are open.
    pub fn open(&self) -> Vec<Who> {
        (0..self.peers.len()).filter(|&index| self.peers[index].open).map(Who).collect()
    }

    /// A connection.
    pub fn peer(&mut self, who: Who) -> &mut Peer {
        &mut self.peers[who.0]
    }

    /// The jobs that a worker holds, by number.
    pub fn held(&self, who: Who) -> Vec<usize> {
        self.numbers(|job| job.state == State::Running(who))
    }

    /// The jobs for which this holds, by number.
    pub fn numbers(&self, mut wanted: impl FnMut(&Job) -> bool) -> Vec<usize> {
        (1..=self.jobs.len()).filter(|number| wanted(&self.jobs[number - 1])).collect()
    }

    /// Whether a function has dead jobs in its queue.
    pub fn haunted(&self, function: usize) -> bool {
        self.jobs
            .iter()
            .any(|job| job.submission.function == function && job.dead && job.state == State::Queued)
    }

    /// The job that a submit would join.
    pub fn twin(&self, submission: &Submission) -> Option<&Job> {
        self.jobs.iter().find(|job| {
            job.state != State::Over
                && job.submission.function == submission.function
                && job.submission.unique == submission.unique
                && match &*submission.unique {
                    b"" => false,
                    b"-" => !submission.data.is_empty() && job.submission.data == submission.data,
                    _ => true,
                }
        })
    }

    /// A worker's job has ended.
    pub fn finish(&mut self, number: usize) {
        self.jobs[number - 1].state = State::Over;
    }

    /// An operator has cancelled a queued job.
    pub fn cancel(&mut self, number: usize) {
        self.jobs[number - 1].dead = true;
    }

    /// A worker will not finish its jobs of these functions.
    pub fn lose(&mut self, who: Who, lost: impl Fn(usize) -> bool) {
        for job in &mut self.jobs {
            if job.state == State::Running(who) && lost(job.submission.function) {
                job.attempts += 1;
                let last = self.attempts_max.is_some_and(|max| job.attempts >= max);
                job.state = if last { State::Over } else { State::Queued };
            }
        }
    }

    /// A connection is gone.
    pub fn close(&mut self, who: Who) {
        self.lose(who, |_| true);
        for job in &mut self.jobs {
            let waited = job.waiting.contains(&who);
            job.waiting.retain(|waiting| *waiting != who);
            if waited && job.waiting.is_empty() && !job.background {
                job.dead = true;
            }
        }
        *self.peer(who) = Peer::default();
    }

    /// Takes in what was told in a step in which `who` sent `submissions`.
    pub fn observe(&mut self, who: Option<Who>, submissions: Vec<Submission>, told: &Told) {
        let mut submissions = submissions.into_iter();
        for (whom, said) in told {
            for one in said {
                let Said::Packet { number, body } = one else {
                    if *one == Said::Closed && self.peers[whom.0].open {
                        self.close(*whom);
                    }
                    continue;
                };
                match Command::from_number(*number) {
                    Some(Command::JobCreated) => {
                        let submission = submissions.next().expect("JOB_CREATED answers a submit");
                        self.created(*whom, number_of(body), &submission);
                    }
                    Some(Command::Error) if Some(*whom) == who => {
                        submissions.next();
                    }
                    Some(Command::JobAssign | Command::JobAssignUniq | Command::JobAssignAll) => {
                        self.jobs[number_of(body) - 1].state = State::Running(*whom);
                    }
                    Some(Command::NoJob) => self.swept(*whom),
                    Some(Command::Noop) => {
                        let peer = self.peer(*whom);
                        peer.woken = peer.asleep;
                    }
                    _ => {}
                }
            }
        }
    }

    fn created(&mut self, client: Who, number: usize, submission: &Submission) {
        if number > self.jobs.len() {
            self.jobs.push(Job {
                background: false,
                waiting: Vec::new(),
                state: State::Queued,
                dead: false,
                attempts: 0,
                submission: submission.clone(),
            });
        }
        let job = &mut self.jobs[number - 1];
        if submission.background {
            job.background = true;
        } else {
            job.waiting.push(client);
        }
    }

    // A worker that gets NO_JOB has come across all dead jobs of its functions.
    fn swept(&mut self, worker: Who) {
        let functions = self.peers[worker.0].functions.clone();
        for job in &mut self.jobs {
            if job.dead && job.state == State::Queued && functions.contains(&job.submission.function) {
                job.state = State::Over;
            }
        }
    }
}

// `<7>`, perhaps with more behind a NUL.
fn number_of(body: &[u8]) -> usize {
    let text = String::from_utf8_lossy(body);
    text.strip_prefix('<')
        .and_then(|rest| rest.split_once('>'))
        .and_then(|(number, _)| number.parse().ok())
        .unwrap_or_else(|| panic!("a handle that no JOB_CREATED gave: {text}"))
}
