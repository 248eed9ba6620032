//! Lines to and from another program, each answer within a limit of time: read this to see what ends a check that cannot go on.

use crate::failure::Failure;
use model::error::io_words;
use serde_json::{Map, Value};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

/// The name that stands for the process which started `slpo`.
const OWN_STREAMS: &str = "-";

/// The longest line that is read. Arrays travel in files, so lines are short.
const LONGEST_LINE: u64 = 1 << 20;

/// Time in which a program must end once its standard input has ended.
const TIME_TO_END: Duration = Duration::from_secs(1);

/// The two directions between `slpo` and a program.
pub struct Channel {
    /// The program as messages name it.
    name: String,
    requests: Option<Box<dyn Write>>,
    answers: Receiver<io::Result<Vec<u8>>>,
    child: Option<Child>,
    limit: Duration,
    /// Lines that have come.
    lines: usize,
}

impl Channel {
    /// Starts a program by the system's shell. `-` is the process that started `slpo`, at the other end of standard input and output.
    ///
    /// # Errors
    /// [`Failure::Failed`] if there is no shell.
    pub fn open(program: &str, limit: Duration) -> Result<Self, Failure> {
        if program == OWN_STREAMS {
            let answers = lines_of(io::stdin());
            return Ok(Self::new("the program", Box::new(io::stdout()), answers, None, limit));
        }
        let (shell, flag) = if cfg!(windows) { ("cmd", "/C") } else { ("sh", "-c") };
        let mut command = Command::new(shell);
        command.arg(flag).arg(program).stdin(Stdio::piped()).stdout(Stdio::piped());
        let failed = |error: io::Error| Failure::Failed(format!("cannot start `{program}` by {shell}: {}", io_words(&error)));
        let mut child = command.spawn().map_err(failed)?;
        let (Some(requests), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Failure::Failed(format!("`{program}` has no standard input or output")));
        };
        Ok(Self::new(&format!("`{program}`"), Box::new(requests), lines_of(answers), Some(child), limit))
    }

    fn new(name: &str, requests: Box<dyn Write>, answers: Receiver<io::Result<Vec<u8>>>, child: Option<Child>, limit: Duration) -> Self {
        Self { name: name.to_owned(), requests: Some(requests), answers, child, limit, lines: 0 }
    }

    /// A failure of the program.
    pub fn failure(&self, reason: &str) -> Failure {
        Failure::Failed(format!("{}: {reason}", self.name))
    }

    /// Sends one line. A program that has ended is noticed when its answer is read.
    pub fn send(&mut self, request: &Value) {
        if let Some(requests) = &mut self.requests {
            let _ = writeln!(requests, "{request}").and_then(|()| requests.flush());
        }
    }

    /// Reads the next line, a JSON object. `awaited` names what it should hold.
    ///
    /// # Errors
    /// [`Failure::Failed`] if no line comes in time, if it is no JSON object, or if it has `error`.
    pub fn receive(&mut self, awaited: &str) -> Result<Map<String, Value>, Failure> {
        let line = match self.answers.recv_timeout(self.limit) {
            Ok(line) => line.map_err(|error| self.failure(&format!("its standard output cannot be read: {}", io_words(&error))))?,
            Err(RecvTimeoutError::Timeout) => {
                let seconds = self.limit.as_secs_f64();
                return Err(self.failure(&format!(
                    "no line came within {seconds} s, where {awaited} was awaited: flush standard output after each line, or give a \
                     longer --timeout"
                )));
            }
            Err(RecvTimeoutError::Disconnected) => {
                let status = self.ended().map_or(String::new(), |status| format!(" ({status})"));
                return Err(self.failure(&format!("it ended{status} where {awaited} was awaited: see what it wrote to standard error")));
            }
        };
        self.lines += 1;
        let text = String::from_utf8_lossy(&line);
        let Ok(Value::Object(answer)) = serde_json::from_str(&text) else {
            let start: String = text.trim_end().chars().take(60).collect();
            return Err(self.failure(&format!(
                "line {} of its standard output is {start:?}, where a JSON object with {awaited} was awaited: print anything else to \
                 standard error",
                self.lines
            )));
        };
        match answer.get("error") {
            Some(error) => Err(self.failure(&format!("it reports an error: {}", error.as_str().unwrap_or(&error.to_string())))),
            None => Ok(answer),
        }
    }

    /// Waits a moment for the end of the program, which its standard input's end announces.
    fn ended(&mut self) -> Option<std::process::ExitStatus> {
        self.requests = None;
        let child = self.child.as_mut()?;
        let start = Instant::now();
        while start.elapsed() < TIME_TO_END {
            if let Ok(Some(status)) = child.try_wait() {
                return Some(status);
            }
            thread::sleep(Duration::from_millis(5));
        }
        None
    }
}

impl Drop for Channel {
    /// Ends the program, which is killed if it does not end by itself.
    fn drop(&mut self) {
        if self.ended().is_none()
            && let Some(child) = &mut self.child
        {
            let _ = child.kill().and_then(|()| child.wait());
        }
    }
}

/// Reads lines on a thread of their own, so that waiting for one can have a limit. The thread ends with the stream or the receiver.
fn lines_of(stream: impl Read + Send + 'static) -> Receiver<io::Result<Vec<u8>>> {
    let (sender, receiver) = sync_channel(1);
    let read_all = move || {
        let mut stream = BufReader::new(stream);
        loop {
            let mut line = Vec::new();
            let read = (&mut stream).take(LONGEST_LINE).read_until(b'\n', &mut line);
            if matches!(read, Ok(0)) || sender.send(read.map(|_| line)).is_err() {
                break;
            }
        }
    };
    thread::spawn(read_all);
    receiver
}
