//! Writes a history while it happens, from as many tasks as like to.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::op::{Header, Kind, Op, Phase, SCHEMA_VERSION};
use super::outcome::{Fault, Outcome};

/// An operation under way. Hand it to [`Recorder::end`]; if it is lost, its line says that no answer ever came.
#[derive(Debug)]
#[must_use = "an operation that was begun has to end"]
pub struct Call {
    idx: u64,
}

#[derive(Debug)]
struct Begun {
    t_invoke: u64,
    proc: u32,
    deadline_us: Option<u64>,
    kind: Kind,
}

#[derive(Debug)]
struct State<W> {
    sink: W,
    next_idx: u64,
    begun: BTreeMap<u64, Begun>,
    error: Option<io::Error>,
}

/// Writes a history. `now` of every call is a monotonic time since the start of the run.
#[derive(Debug)]
pub struct Recorder<W> {
    state: Mutex<State<W>>,
}

impl<W: Write> Recorder<W> {
    /// Begins a history. The version in the header is set here.
    ///
    /// # Errors
    /// The sink's.
    pub fn new(mut sink: W, mut header: Header) -> io::Result<Recorder<W>> {
        header.highwater_history = SCHEMA_VERSION;
        write_line(&mut sink, &header)?;
        let state = State { sink, next_idx: 0, begun: BTreeMap::new(), error: None };
        Ok(Recorder { state: Mutex::new(state) })
    }

    /// Process `proc` begins an operation that has to be answered within `deadline`. `kind` is what is asked; it is what
    /// the line says if no answer ever comes.
    pub fn begin(&self, proc: u32, now: Duration, deadline: Option<Duration>, kind: Kind) -> Call {
        let mut state = self.lock();
        let idx = state.next_idx;
        state.next_idx += 1;
        let deadline_us = deadline.map(micros);
        state.begun.insert(idx, Begun { t_invoke: micros(now), proc, deadline_us, kind });
        Call { idx }
    }

    /// The operation ended. `answered` fills the answer into what was asked.
    pub fn end(
        &self,
        call: Call,
        now: Duration,
        outcome: Outcome,
        error: Option<String>,
        answered: impl FnOnce(&mut Kind),
    ) {
        let mut state = self.lock();
        let Some(mut begun) = state.begun.remove(&call.idx) else {
            unreachable!("a call is ended once: it is moved here")
        };
        answered(&mut begun.kind);
        let line = op(call.idx, begun, Some(micros(now)), outcome, error);
        state.write(&line);
    }

    /// Records what was done to the cluster.
    pub fn nemesis(&self, now: Duration, class: &str, detail: String, installed: Fault, minority: Minority) {
        let minority = minority == Minority::Yes;
        self.note(now, Kind::Nemesis { class: class.to_owned(), detail, installed, minority });
    }

    /// Records that the run went on to its next part.
    pub fn phase(&self, now: Duration, phase: Phase) {
        self.note(now, Kind::Phase { phase });
    }

    /// Writes what was begun and never answered, and hands the sink back.
    ///
    /// # Errors
    /// The first error of any write.
    pub fn finish(self) -> io::Result<W> {
        let mut state = self.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        for (idx, begun) in std::mem::take(&mut state.begun) {
            let error = Some("no answer before the end of the run".to_owned());
            let line = op(idx, begun, None, Outcome::Info, error);
            state.write(&line);
        }
        state.sink.flush()?;
        state.error.map_or(Ok(state.sink), Err)
    }

    fn note(&self, now: Duration, kind: Kind) {
        let call = self.begin(NEMESIS, now, None, kind);
        self.end(call, now, Outcome::Ok, None, |_| ());
    }

    fn lock(&self) -> MutexGuard<'_, State<W>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The process that disturbs and announces.
const NEMESIS: u32 = u32::MAX;

/// Whether a fault leaves a majority of the brokers alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Minority {
    /// It does.
    Yes,
    /// It does not.
    No,
}

impl<W: Write> State<W> {
    fn write(&mut self, op: &Op) {
        if let Err(error) = write_line(&mut self.sink, op) {
            self.error.get_or_insert(error);
        }
    }
}

fn op(idx: u64, begun: Begun, t_complete: Option<u64>, outcome: Outcome, error: Option<String>) -> Op {
    let Begun { t_invoke, proc, deadline_us, kind } = begun;
    Op { idx, t_invoke, t_complete, proc, outcome, error, deadline_us, kind }
}

fn write_line(sink: &mut impl Write, line: &impl serde::Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *sink, line)?;
    sink.write_all(b"\n")
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{History, Key};

    fn send(sequence: u64) -> Kind {
        Kind::Send { key: Key::new("t", 3), producer: 1, sequence, offset: None }
    }

    #[test]
    fn what_was_recorded_by_many_threads_is_read_back_with_a_line_for_each() {
        let recorder = Recorder::new(Vec::new(), Header { seed: 7, ..Header::default() }).expect("a vector");
        std::thread::scope(|scope| {
            for proc in 0..4 {
                let recorder = &recorder;
                scope.spawn(move || {
                    for i in 0..50 {
                        let now = Duration::from_micros(i * 10);
                        let call = recorder.begin(proc, now, Some(Duration::from_secs(1)), send(i));
                        if i == 49 {
                            drop(call);
                            continue;
                        }
                        recorder.end(call, now * 2, Outcome::Ok, None, |kind| {
                            let Kind::Send { offset, .. } = kind else { unreachable!("it was a send") };
                            *offset = Some(5);
                        });
                    }
                });
            }
        });
        recorder.nemesis(Duration::ZERO, "pause", "n1".into(), Fault::Installed, Minority::Yes);
        recorder.phase(Duration::ZERO, Phase::Healed);
        let bytes = recorder.finish().expect("a vector");
        let history = History::new(bytes.as_slice()).expect("a header");
        assert_eq!(history.header().seed, 7);
        let ops: Vec<Op> = history.collect::<Result<_, _>>().expect("all lines");
        let mut indexes: Vec<u64> = ops.iter().map(|op| op.idx).collect();
        indexes.sort_unstable();
        assert_eq!(indexes, (0..202).collect::<Vec<_>>());
        let unanswered = ops.iter().filter(|op| op.t_complete.is_none());
        assert_eq!(unanswered.count(), 4);
        let answered = |op: &&Op| matches!(op.kind, Kind::Send { offset: Some(5), .. });
        assert_eq!(ops.iter().filter(answered).count(), 196);
    }

    #[test]
    fn the_lines_look_as_documented() {
        let recorder = Recorder::new(Vec::new(), Header::default()).expect("a vector");
        let call = recorder.begin(2, Duration::from_millis(1), None, send(9));
        recorder.end(call, Duration::from_millis(3), Outcome::Info, Some("timeout".into()), |_| ());
        let text = String::from_utf8(recorder.finish().expect("a vector")).expect("text");
        let line = text.lines().nth(1).expect("two lines");
        assert_eq!(
            line,
            r#"{"idx":0,"t_invoke":1000,"t_complete":3000,"proc":2,"type":"info","error":"timeout","kind":"send","key":"t/3","producer":1,"sequence":9,"offset":null}"#
        );
    }
}
