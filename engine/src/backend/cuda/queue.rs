//! The commands that wait to run on a device, and the CUDA graphs that replay them.
//!
//! Waiting commands are handed to the device together, at the latest when there are [`LONGEST`]. This happens earlier where the host needs
//! the device: before it reads, uploads, or gives the stream to another library.
//!
//! A batch of commands that repeats, with the same kernels on the same memory, is captured as a graph. Launching a graph costs one call,
//! however many kernels it has. In training, where shapes repeat, graphs run nearly all of every step after the first few.
//!
//! Graphs can be replayed because addresses repeat from step to step. Three things make them repeat:
//!
//! - The allocator hands out the lowest free block.
//! - [`Cuda::table`](super::Cuda) uploads a table into the block of the table that it replaces.
//! - The optimizer's kernels read their changing numbers from memory at a fixed address.

use super::error::CudaError;
use super::runtime::{Arguments, Command, Function, Graph, Grid, Product, Runtime};
use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::ops::Deref;
use std::sync::{Mutex, MutexGuard};

/// The most commands handed over together. Few enough that the device begins early, and enough that a graph saves most calls.
const LONGEST: usize = 128;
/// The fewest commands that are captured as a graph.
const SHORTEST: usize = 8;
/// The most batches of commands that are remembered. Beyond this, those not seen for the longest time are forgotten.
const REMEMBERED: usize = 256;

/// Counts of how commands ran: in graphs, or alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GraphReport {
    /// Graphs that were captured.
    pub captured: usize,
    /// Launches of graphs.
    pub replayed: usize,
    /// Commands that ran in graphs.
    pub commands: usize,
    /// Commands that ran alone.
    pub alone: usize,
    /// The error that ended the use of graphs, if there was one.
    pub failure: Option<String>,
}

/// A batch of commands that was seen before.
enum CommandRun {
    /// Seen, and not captured.
    Seen,
    /// Captured as a graph.
    Kept(Box<[Command]>, Graph),
}

#[derive(Default)]
struct State {
    waiting: Vec<Command>,
    /// Batches by their hash, each with the clock of its last use.
    runs: HashMap<u64, (CommandRun, u64)>,
    clock: u64,
    /// True if nothing is captured: every command is launched by itself.
    plain: bool,
    report: GraphReport,
}

/// A device to which all waiting commands have been handed. While this value lives, no other thread can hand over commands. During a
/// capture, such commands would become part of the graph.
pub struct Settled<'a> {
    device: &'a (dyn Runtime + 'static),
    _alone: MutexGuard<'a, State>,
}

impl Deref for Settled<'_> {
    type Target = dyn Runtime;
    fn deref(&self) -> &Self::Target {
        self.device
    }
}

/// A device with its waiting commands.
pub struct Queue {
    device: Box<dyn Runtime>,
    state: Mutex<State>,
}

impl Queue {
    /// Creates a queue in which nothing waits.
    pub fn new(device: Box<dyn Runtime>) -> Self {
        Self { device, state: Mutex::default() }
    }
    /// Hands over all waiting commands and returns the device: for work that must come after them.
    ///
    /// # Errors
    /// The error of any waiting command, whichever caller queued it. The commands behind it are dropped.
    pub fn settled(&self) -> Result<Settled<'_>, CudaError> {
        let mut state = self.state();
        self.hand_over(&mut state)?;
        Ok(Settled { device: &*self.device, _alone: state })
    }
    /// Returns the device, for work that needs no order with the commands.
    pub fn device(&self) -> &dyn Runtime {
        &*self.device
    }
    /// Turns graphs off: from here on every command is launched by itself.
    pub fn keep_nothing(&self) {
        self.state().plain = true;
    }
    /// Returns how many commands ran in graphs, and how many alone.
    pub fn report(&self) -> GraphReport {
        self.state().report.clone()
    }
    /// Queues a note that a block is handed out again, if the device wants such notes.
    pub fn reused(&self, address: u64, bytes: usize) {
        if self.device.marks_reuse() {
            self.state().waiting.push(Command::Reuse(address, bytes));
        }
    }
    /// Queues the launch of a kernel.
    ///
    /// # Safety
    /// As [`Runtime::run`], until the command has run.
    ///
    /// # Errors
    /// The error of any waiting command.
    pub unsafe fn launch(&self, function: Function, grid: Grid, arguments: Arguments) -> Result<(), CudaError> {
        self.push(Command::Launch(function, grid, arguments))
    }
    /// Queues a matrix product.
    ///
    /// # Safety
    /// As [`Runtime::run`], until the command has run.
    ///
    /// # Errors
    /// The error of any waiting command.
    pub unsafe fn product(&self, product: &Product) -> Result<(), CudaError> {
        self.push(Command::Product(*product))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn push(&self, command: Command) -> Result<(), CudaError> {
        let mut state = self.state();
        state.waiting.push(command);
        if state.waiting.len() < LONGEST { Ok(()) } else { self.hand_over(&mut state) }
    }

    /// Hands over the waiting commands: as a graph if they repeat, else one by one.
    fn hand_over(&self, state: &mut State) -> Result<(), CudaError> {
        let commands = std::mem::take(&mut state.waiting);
        if commands.len() < SHORTEST || state.plain || state.report.failure.is_some() {
            return self.run_alone(&commands, &mut state.report);
        }
        state.clock += 1;
        let (clock, hash) = (state.clock, BuildHasherDefault::<DefaultHasher>::default().hash_one(&commands));
        let State { runs, report, .. } = state;
        match runs.get_mut(&hash) {
            Some((CommandRun::Kept(kept, graph), last)) if **kept == *commands => {
                *last = clock;
                self.replay(*graph, commands.len(), report)
            }
            Some((run @ CommandRun::Seen, last)) => {
                *last = clock;
                self.keep(run, commands, report)
            }
            Some((CommandRun::Kept(..), _)) => self.run_alone(&commands, report),
            None => {
                runs.insert(hash, (CommandRun::Seen, clock));
                self.forget_oldest(runs);
                self.run_alone(&commands, report)
            }
        }
    }

    fn run_alone(&self, commands: &[Command], report: &mut GraphReport) -> Result<(), CudaError> {
        report.alone += commands.len();
        // SAFETY: each command's caller promised this when queueing it.
        commands.iter().try_for_each(|command| unsafe { self.device.run(command) })
    }

    fn replay(&self, graph: Graph, commands: usize, report: &mut GraphReport) -> Result<(), CudaError> {
        report.replayed += 1;
        report.commands += commands;
        // SAFETY: the commands of the graph equal those that waited.
        unsafe { self.device.replay(graph) }
    }

    /// Captures commands that repeat, and runs them. Runs them alone if the device cannot capture them.
    fn keep(&self, run: &mut CommandRun, commands: Vec<Command>, report: &mut GraphReport) -> Result<(), CudaError> {
        // SAFETY: the graph is replayed only for equal commands.
        match unsafe { self.device.capture(&commands) } {
            Ok(graph) => {
                report.captured += 1;
                let result = self.replay(graph, commands.len(), report);
                *run = CommandRun::Kept(commands.into(), graph);
                result
            }
            Err(error) => {
                report.failure = Some(error.to_string());
                self.run_alone(&commands, report)
            }
        }
    }

    /// Forgets the older half of the batches if there are too many.
    fn forget_oldest(&self, runs: &mut HashMap<u64, (CommandRun, u64)>) {
        if runs.len() <= REMEMBERED {
            return;
        }
        let mut ages: Vec<u64> = runs.values().map(|&(_, last)| last).collect();
        let (_, &mut middle, _) = ages.select_nth_unstable(REMEMBERED / 2);
        runs.retain(|_, (run, last)| {
            let stays = *last >= middle;
            if let (false, CommandRun::Kept(_, graph)) = (stays, run) {
                self.device.forget(*graph);
            }
            stays
        });
    }
}
