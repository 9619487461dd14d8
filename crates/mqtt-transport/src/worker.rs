//! [`Worker`] is a thread for calls that block, such as writing to a disk or a pipe. An event loop must not block, so
//! it passes such calls to a worker.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, TrySendError};
use std::thread;
use std::time::Duration;

use mio::Waker;

/// Thread that does one job at a time and wakes the event loop after each job. Dropping the worker ends the thread as
/// soon as its current job is done.
pub struct Worker<Job, Done> {
    jobs: SyncSender<Job>,
    results: Receiver<Done>,
    /// Number of jobs whose results the caller has not taken: at most one in work, one in the channel and one result.
    pending: usize,
}

// The implementation is not derived, because the derived one would require `Debug` for `Job` and `Done`.
impl<Job, Done> fmt::Debug for Worker<Job, Done> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker")
            .field("pending", &self.pending)
            .finish_non_exhaustive()
    }
}

/// Reason why a [`Worker`] does not accept a job or return a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum WorkerError {
    /// The thread is busy with another job, and one more job waits.
    Busy,
    /// The thread has ended. Only a panic in a job causes this.
    Ended,
    /// The job was not done before the timeout.
    TimedOut,
}

impl fmt::Display for WorkerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Busy => "the thread has another job",
            Self::Ended => "the thread has ended",
            Self::TimedOut => "the job is not done",
        })
    }
}

impl std::error::Error for WorkerError {}

impl<Job: Send + 'static, Done: Send + 'static> Worker<Job, Done> {
    /// Starts a thread with this name. The thread calls `work` for each job.
    ///
    /// # Errors
    /// Returns an error if the operating system cannot start another thread.
    pub fn start(
        name: &str,
        waker: Arc<Waker>,
        mut work: impl FnMut(Job) -> Done + Send + 'static,
    ) -> io::Result<Self> {
        // Each channel has room for one item. The caller never blocks in `begin`, and the thread blocks in `send` only
        // until the caller takes an earlier result. A caller with more jobs keeps them in its own bounded queue, from
        // which it can still remove them.
        let (jobs, incoming) = sync_channel(1);
        let (outgoing, results) = sync_channel(1);
        thread::Builder::new().name(name.into()).spawn(move || {
            for job in incoming {
                if outgoing.send(work(job)).is_err() {
                    return; // The event loop has ended.
                }
                // Waking fails if the event loop has ended. The next `send` then reports the same, so the error is
                // ignored.
                let _ = waker.wake();
            }
        })?;
        Ok(Self {
            jobs,
            results,
            pending: 0,
        })
    }

    /// Passes the next job to the thread.
    ///
    /// # Errors
    /// Returns an error if the thread has no room for the job or has ended. The job is dropped.
    pub fn begin(&mut self, job: Job) -> Result<(), WorkerError> {
        self.jobs.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => WorkerError::Busy,
            TrySendError::Disconnected(_) => WorkerError::Ended,
        })?;
        self.pending += 1;
        Ok(())
    }

    /// Returns the result of the job, or `None` if the job is not done.
    ///
    /// # Errors
    /// Returns an error if the thread has ended.
    pub fn poll(&mut self) -> Option<Result<Done, WorkerError>> {
        match self.results.try_recv() {
            Ok(done) => Some(Ok(self.finish_job(done))),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => Some(Err(self.abandon_jobs())),
        }
    }

    /// Blocks until the job is done, for at most `timeout`, and returns the result.
    ///
    /// # Errors
    /// Returns an error if the job is not done before the timeout, or if the thread has ended.
    pub fn wait(&mut self, timeout: Duration) -> Result<Done, WorkerError> {
        match self.results.recv_timeout(timeout) {
            Ok(done) => Ok(self.finish_job(done)),
            Err(RecvTimeoutError::Timeout) => Err(WorkerError::TimedOut),
            Err(RecvTimeoutError::Disconnected) => Err(self.abandon_jobs()),
        }
    }

    /// Returns `true` while the thread has a job whose result the caller has not taken.
    pub fn is_busy(&self) -> bool {
        self.pending > 0
    }

    fn finish_job(&mut self, done: Done) -> Done {
        self.pending = self.pending.saturating_sub(1);
        done
    }

    /// Records that the thread has ended: the jobs that it had will have no result.
    fn abandon_jobs(&mut self) -> WorkerError {
        self.pending = 0;
        WorkerError::Ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mio::{Events, Poll, Token};

    const TIMEOUT: Duration = Duration::from_secs(20);

    fn waker(poll: &Poll) -> Arc<Waker> {
        Arc::new(Waker::new(poll.registry(), Token(0)).unwrap())
    }

    #[test]
    fn wakes_the_event_loop_for_each_result() {
        let mut poll = Poll::new().unwrap();
        let mut events = Events::with_capacity(4);
        let mut worker = Worker::start("test", waker(&poll), |number: u32| number + 1).unwrap();
        assert_eq!(worker.poll(), None);
        for number in 0..3 {
            worker.begin(number).unwrap();
            assert!(worker.is_busy());
            poll.poll(&mut events, Some(TIMEOUT)).unwrap();
            assert_eq!(worker.poll(), Some(Ok(number + 1)));
            assert!(!worker.is_busy());
        }
    }

    #[test]
    fn rejects_a_job_that_would_wait() {
        let poll = Poll::new().unwrap();
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let mut worker = Worker::start("test", waker(&poll), move |_: u32| {
            let _ = wait.recv(); // Returns an error after `go` is dropped.
        })
        .unwrap();
        // The thread is doing one job, and another one is in the channel.
        worker.begin(0).unwrap();
        while worker.begin(1).is_err() {
            thread::yield_now();
        }
        assert_eq!(worker.begin(2), Err(WorkerError::Busy));
        assert_eq!(worker.wait(Duration::ZERO), Err(WorkerError::TimedOut));
        drop(go);
        assert_eq!(worker.wait(TIMEOUT), Ok(()));
        assert!(worker.is_busy(), "the second job has no result yet");
        assert_eq!(worker.wait(TIMEOUT), Ok(()));
        assert!(!worker.is_busy());
    }

    #[test]
    fn reports_a_thread_that_has_panicked() {
        let poll = Poll::new().unwrap();
        let mut worker =
            Worker::start("test", waker(&poll), |_: u32| -> u32 { panic!("a test") }).unwrap();
        worker.begin(0).unwrap();
        assert_eq!(worker.wait(TIMEOUT), Err(WorkerError::Ended));
        assert!(!worker.is_busy(), "the job will have no result");
        assert_eq!(worker.poll(), Some(Err(WorkerError::Ended)));
        assert_eq!(worker.begin(1), Err(WorkerError::Ended));
    }
}
