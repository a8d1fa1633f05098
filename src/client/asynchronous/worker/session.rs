//! One connection of a worker, while it lasts.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep_until, timeout};

use super::serve::Shared;
use super::task::{AsyncWorkerJob, Connection};
use crate::client::address::ServerAddress;
use crate::client::asynchronous::stream::{Stream, Traffic, Turn};
use crate::client::conversation::WorkerEvent;
use crate::client::error::LossReason;
use crate::client::job::JobHandle;
use crate::client::worker::{GOODBYE, Held, JobError, JobResult, Notice, TICK, panic_message};

/// How a connection ended.
pub(super) enum End {
    Stopped,
    /// A job was to go back to the server, which closing the connection does.
    Retired,
    Lost(LossReason),
}

struct Session<'a> {
    shared: &'a Arc<Shared>,
    connection: Arc<Connection>,
    stream: Stream,
    traffic: Traffic,
    /// Leave to run one more job: held for the grab that is outstanding.
    permit: Option<OwnedSemaphorePermit>,
    asked_at: Instant,
}

/// Serves until the worker stops or the connection is gone.
pub(super) async fn run(shared: &Arc<Shared>, server: &Arc<ServerAddress>, stream: Stream) -> End {
    let functions = shared.functions.iter().map(|registered| (&*registered.name, registered.timeout));
    let connection = Arc::new(Connection::new(server, shared.settings.introduction(1, functions)));
    let traffic = Traffic::new();
    let mut session = Session { shared, connection, stream, traffic, permit: None, asked_at: Instant::now() };
    let end = match session.serve().await {
        Ok(end) => {
            session.goodbye().await;
            end
        }
        Err(reason) => End::Lost(reason),
    };
    session.connection.lock().lost = true;
    session.connection.drained.notify_waiters();
    end
}

impl Session<'_> {
    async fn serve(&mut self) -> Result<End, LossReason> {
        let mut stopping = self.shared.stop.subscribe();
        loop {
            let wants_permit = {
                let mut state = self.connection.lock();
                let ending = *stopping.borrow() || state.retiring;
                if ending && state.running == 0 && self.traffic.is_empty() && state.talk.outgoing().is_empty()
                {
                    return Ok(if *stopping.borrow() { End::Stopped } else { End::Retired });
                }
                let wants = !ending && !state.talk.is_asleep() && state.talk.unanswered() == 0;
                if ending {
                    self.permit = None;
                } else if wants {
                    self.permit =
                        self.permit.take().or_else(|| self.shared.permits.clone().try_acquire_owned().ok());
                    if self.permit.is_some() {
                        state.talk.grab_one();
                        self.asked_at = Instant::now();
                    }
                }
                if self.traffic.is_empty() {
                    state.talk.take_outgoing(&mut self.traffic.out);
                }
                state.unsent = self.traffic.out.len();
                wants && self.permit.is_none()
            };
            self.turn(wants_permit, &mut stopping).await?;
        }
    }

    async fn turn(
        &mut self,
        wants_permit: bool,
        stopping: &mut tokio::sync::watch::Receiver<bool>,
    ) -> Result<(), LossReason> {
        let (asked, asleep) = {
            let state = self.connection.lock();
            (state.talk.unanswered() > 0, state.talk.is_asleep())
        };
        let recheck_at = self.asked_at + self.shared.settings.recheck;
        let silent_at = self.asked_at + self.shared.settings.answer_timeout;
        let tick_at = self.asked_at + TICK;
        let stopped = *stopping.borrow();
        tokio::select! {
            turn = self.traffic.turn(&self.stream) => {
                let turn = turn.map_err(|error| LossReason::Io(Arc::new(error)))?;
                self.file(&turn)?;
            }
            () = self.connection.work.notified() => {}
            permit = self.shared.permits.clone().acquire_owned(), if wants_permit => {
                self.permit = permit.ok();
            }
            changed = stopping.changed(), if !stopped => {
                // The worker's handle is gone: that stops it too.
                let _ = changed;
            }
            // A server that does not answer does not keep the others from working.
            () = sleep_until(tick_at), if asked && self.permit.is_some() => self.permit = None,
            // Servers have been known to forget whom they were to wake, and to fall silent.
            () = sleep_until(recheck_at), if asleep && !stopped => self.connection.lock().talk.wake(),
            () = sleep_until(silent_at), if asked => {
                return Err(LossReason::Silent(self.shared.settings.answer_timeout));
            }
        }
        Ok(())
    }

    fn file(&mut self, turn: &Turn) -> Result<(), LossReason> {
        let mut assigned = Vec::new();
        let mut state = self.connection.lock();
        if turn.sent > 0 {
            self.connection.drained.notify_waiters();
            // It reads, if slowly; it cannot answer what it has not got.
            self.asked_at = Instant::now();
        }
        let mut no_job = false;
        let shared = self.shared;
        let server = &self.connection.server;
        let heard = state.talk.receive(self.traffic.received(turn), |event| match event {
            WorkerEvent::Assigned(assignment) => {
                assigned.push(Held::new(&assignment, shared.function(assignment.function)));
            }
            WorkerEvent::NoJob => no_job = true,
            WorkerEvent::Refused { code, text } => shared.settings.notify(|| Notice::Refused {
                server: (**server).clone(),
                code: String::from_utf8_lossy(code).into_owned(),
                text: String::from_utf8_lossy(text).into_owned(),
            }),
            _ => {}
        });
        if no_job {
            self.permit = None;
            state.talk.sleep();
        }
        state.running += assigned.len();
        drop(state);
        assigned.into_iter().for_each(|held| self.begin(held));
        heard.map_err(LossReason::Protocol)?;
        if turn.ended { Err(LossReason::Closed) } else { Ok(()) }
    }

    /// Runs a job in a task of its own.
    fn begin(&mut self, held: Held) {
        let (shared, connection) = (Arc::clone(self.shared), Arc::clone(&self.connection));
        let permit = self.permit.take();
        tokio::spawn(async move {
            let handle = held.handle().to_vec();
            let result = match held.function {
                // The server hands out what was never registered.
                None => Err(JobError::Failed),
                Some(index) => {
                    let permit = match permit {
                        Some(permit) => Ok(permit),
                        None => Arc::clone(&shared.permits).acquire_owned().await,
                    };
                    let result = call(&shared, index, held, &connection).await;
                    drop(permit);
                    result
                }
            };
            conclude(&connection, &handle, result);
        });
    }

    /// Closes in good order, so that what was sent last arrives.
    async fn goodbye(&mut self) {
        self.stream.finish();
        let drain = async { while self.traffic.turn(&self.stream).await.is_ok_and(|turn| !turn.ended) {} };
        // After that the server will not have it anyway.
        let _ = timeout(GOODBYE, drain).await;
    }
}

async fn call(shared: &Arc<Shared>, index: usize, held: Held, connection: &Arc<Connection>) -> JobResult {
    let registered = &shared.functions[index];
    let handle = held.handle().to_vec();
    let job =
        AsyncWorkerJob { held, function: Arc::clone(&registered.name), connection: Arc::clone(connection) };
    let mut future = Box::pin(async move { (registered.function)(job).await });
    let called = poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(result)) => Poll::Ready(Ok(result)),
        Err(panic) => Poll::Ready(Err(panic_message(&*panic))),
    });
    called.await.unwrap_or_else(|message| {
        let handle = JobHandle::new(&handle, Some(Arc::clone(&connection.server)));
        shared.settings.notify(|| Notice::Panicked { handle, message: message.clone() });
        Err(JobError::Exception(message.into_bytes()))
    })
}

fn conclude(connection: &Connection, handle: &[u8], result: JobResult) {
    let mut state = connection.lock();
    state.running -= 1;
    match result {
        Ok(result) => state.talk.complete(handle, &result),
        Err(JobError::Exception(data)) => state.talk.exception(handle, &data),
        Err(JobError::Retry) => state.retiring = true,
        Err(JobError::Failed) => state.talk.fail(handle),
        // Nobody is there to be told.
        Err(JobError::Lost) => {}
    }
    drop(state);
    connection.work.notify_one();
}

/// How long a pause before connecting again is, for people who retire.
pub(super) const RETIRED: Duration = Duration::from_millis(1);
