//! The commands that wait to run on a device. They are handed over in runs of at most [`LONGEST`], and where the host needs the device: for
//! what it reads, uploads, or gives to another library. A run that comes again, with the same kernels on the same memory, is kept as a
//! graph, which costs one call however many kernels it has: in training, where shapes repeat, nearly all of every step after the first few.
//!
//! That addresses repeat is the doing of the allocator, which hands out the lowest free block, of [`Cuda::table`](super::Cuda), which
//! uploads to where the same was in the step before, and of AdamW, whose numbers lie in memory.

use super::error::CudaError;
use super::runtime::{Arguments, Command, Function, Graph, Grid, Product, Runtime};
use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::ops::Deref;
use std::sync::{Mutex, MutexGuard};

/// Commands that are handed over together at most: few enough that the device begins early, enough that a graph saves their calls.
const LONGEST: usize = 128;
/// Runs of fewer commands are not kept.
const SHORTEST: usize = 8;
/// Runs that are remembered. Where there are more, those that came longest ago are forgotten.
const REMEMBERED: usize = 256;

/// How often commands were kept and ran again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GraphReport {
    /// Graphs that were made.
    pub captured: usize,
    /// How often one ran.
    pub replayed: usize,
    /// Commands that ran as part of one.
    pub commands: usize,
    /// Commands that ran alone.
    pub alone: usize,
    /// Why graphs are not made any more, if they are not.
    pub failure: Option<String>,
}

/// A run of commands that came before.
enum CommandRun {
    /// Once.
    Seen,
    /// Again, and was kept.
    Kept(Box<[Command]>, Graph),
}

#[derive(Default)]
struct State {
    waiting: Vec<Command>,
    /// By hash, with the number of the last run of each.
    runs: HashMap<u64, (CommandRun, u64)>,
    clock: u64,
    /// True if no run is kept as a graph: every command is launched by itself.
    plain: bool,
    report: GraphReport,
}

/// A device that everything that waited has been handed to. No other thread hands anything over meanwhile: what goes into the stream while
/// commands are captured would become part of the graph.
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

/// A device with the commands that wait to run there.
pub struct Queue {
    device: Box<dyn Runtime>,
    state: Mutex<State>,
}

impl Queue {
    /// Nothing waits.
    pub fn new(device: Box<dyn Runtime>) -> Self {
        Self { device, state: Mutex::default() }
    }
    /// The device, which is told everything that waits first: for what must come after it.
    ///
    /// # Errors
    /// What a command that waited answers, whoever it came from; those behind it are dropped.
    pub fn settled(&self) -> Result<Settled<'_>, CudaError> {
        let mut state = self.state();
        self.hand_over(&mut state)?;
        Ok(Settled { device: &*self.device, _alone: state })
    }
    /// The device, for what is in no order with the commands.
    pub fn device(&self) -> &dyn Runtime {
        &*self.device
    }
    /// From here on every command runs alone.
    pub fn keep_nothing(&self) {
        self.state().plain = true;
    }
    /// How often commands were kept and ran again.
    pub fn report(&self) -> GraphReport {
        self.state().report.clone()
    }
    /// Told of memory that is handed out again.
    pub fn reused(&self, address: u64, bytes: usize) {
        if self.device.marks_reuse() {
            self.state().waiting.push(Command::Reuse(address, bytes));
        }
    }
    /// Launches a kernel.
    ///
    /// # Safety
    /// As [`Runtime::run`], until the command has run.
    ///
    /// # Errors
    /// What a command that waited answers.
    pub unsafe fn launch(&self, function: Function, grid: Grid, arguments: Arguments) -> Result<(), CudaError> {
        self.push(Command::Launch(function, grid, arguments))
    }
    /// Launches a matrix product.
    ///
    /// # Safety
    /// As [`Runtime::run`], until the command has run.
    ///
    /// # Errors
    /// What a command that waited answers.
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

    /// Hands over what waits.
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
        // SAFETY: what was promised of them when they began to wait.
        commands.iter().try_for_each(|command| unsafe { self.device.run(command) })
    }

    fn replay(&self, graph: Graph, commands: usize, report: &mut GraphReport) -> Result<(), CudaError> {
        report.replayed += 1;
        report.commands += commands;
        // SAFETY: its commands are those that waited.
        unsafe { self.device.replay(graph) }
    }

    /// Keeps commands that came again, and runs them: alone where the device cannot make a graph of them.
    fn keep(&self, run: &mut CommandRun, commands: Vec<Command>, report: &mut GraphReport) -> Result<(), CudaError> {
        // SAFETY: the graph is replayed only where the same commands wait.
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

    /// Forgets the older half of the runs where there are too many.
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
