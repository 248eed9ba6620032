//! Launches of kernels: their arguments, and the number of their blocks.

use super::array::{CudaArray, merged};
use super::compile;
use super::context::Cuda;
use super::runtime::{Arguments, Grid, Storage, Unit};

/// The threads of a block that loops over elements.
pub(super) const THREADS: u32 = 256;
/// The longest row that gets a warp instead of a block, in kernels that support both.
const SHORT_ROW: usize = 1024;
/// The most axes that a strided kernel supports.
const MOST_AXES: usize = 8;

/// A view as the kernels describe it: extents, strides in elements, and number of axes.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(super) struct Strided {
    shape: [i64; MOST_AXES],
    strides: [i64; MOST_AXES],
    rank: i32,
}

/// Describes views of one shape, with their axes merged.
pub(super) fn strided(shape: &[usize], strides: &[&[usize]]) -> Vec<Strided> {
    let (extents, steps) = merged(shape, strides);
    assert!(extents.len() <= MOST_AXES, "an array of shape {shape:?} has more axes than the kernels go through");
    let view = |steps: &Vec<usize>| {
        let mut view = Strided { shape: [1; MOST_AXES], strides: [0; MOST_AXES], rank: extents.len() as i32 };
        for axis in 0..extents.len() {
            (view.shape[axis], view.strides[axis]) = (extents[axis] as i64, steps[axis] as i64);
        }
        view
    };
    steps.iter().map(view).collect()
}

/// An argument of a kernel, with the type that the kernel declares.
#[derive(Clone, Copy, Debug)]
pub(super) enum Argument {
    /// A pointer.
    Address(u64),
    /// `Long`.
    Long(i64),
    /// `int`.
    Int(i32),
    /// `float`.
    Float(f32),
    /// `double`.
    Double(f64),
    /// `Strided`.
    View(Strided),
}

impl Argument {
    /// Appends the argument's bits. Every host of CUDA is little-endian.
    fn push_to(&self, arguments: &mut Arguments) {
        match self {
            Self::Address(x) => arguments.push([*x]),
            Self::Long(x) => arguments.push([*x as u64]),
            Self::Int(x) => arguments.push([u64::from(*x as u32)]),
            Self::Float(x) => arguments.push([u64::from(x.to_bits())]),
            Self::Double(x) => arguments.push([x.to_bits()]),
            Self::View(x) => {
                let steps = x.shape.iter().chain(&x.strides).map(|&step| step as u64);
                arguments.push(steps.chain([x.rank as u64]));
            }
        }
    }
}

impl From<&CudaArray> for Argument {
    fn from(array: &CudaArray) -> Self {
        Self::Address(array.address())
    }
}
impl From<usize> for Argument {
    fn from(x: usize) -> Self {
        Self::Long(x as i64)
    }
}
impl From<i32> for Argument {
    fn from(x: i32) -> Self {
        Self::Int(x)
    }
}
impl From<f64> for Argument {
    fn from(x: f64) -> Self {
        Self::Double(x)
    }
}
impl From<f32> for Argument {
    fn from(x: f32) -> Self {
        Self::Float(x)
    }
}
impl From<Strided> for Argument {
    fn from(x: Strided) -> Self {
        Self::View(x)
    }
}

/// Converts a length to a kernel's `int`.
pub(super) fn int(x: usize) -> i32 {
    i32::try_from(x).unwrap_or_else(|_| panic!("an extent of {x} is more than the kernels count to"))
}

/// Lists the arguments of a launch. Each is converted to the type that the kernel declares.
macro_rules! arguments {
    ($($x:expr),* $(,)?) => {
        &[$($crate::backend::cuda::launch::Argument::from($x)),*]
    };
}
pub(super) use arguments;

/// Returns the name of a template's kernel for arrays with these storages. If all are f32, it is the template's own name.
pub(super) fn typed(template: &str, storages: &[Storage]) -> String {
    if storages.iter().all(|&storage| storage == Storage::F32) {
        return template.to_owned();
    }
    let suffix = |storage: &Storage| if *storage == Storage::F32 { "_float" } else { "_bf16" };
    std::iter::once(template).chain(storages.iter().map(suffix)).collect()
}

impl Cuda {
    /// Launches a kernel of a source on a grid.
    pub(super) fn launch(&self, unit: &Unit<'_>, kernel: &str, grid: Grid, arguments: &[Argument]) {
        if grid.x == 0 || grid.y == 0 {
            return;
        }
        let runtime = &self.0.runtime;
        let launched = runtime.device().function(unit, kernel).and_then(|function| {
            let mut bits = Arguments::default();
            arguments.iter().for_each(|argument| argument.push_to(&mut bits));
            // SAFETY: the callers in this module pass the kernel's arguments in its order and of its types. The arrays' blocks return at
            // most to the cache, whose later users are queued behind the launch.
            unsafe { runtime.launch(function, grid, bits) }
        });
        launched.unwrap_or_else(|error| error.raise());
    }

    /// Launches a loop over `count` elements.
    pub(super) fn launch_elements(&self, unit: &str, kernel: &str, count: usize, arguments: &[Argument]) {
        self.launch(&compile::unit(unit), kernel, self.elements(count), arguments);
    }

    /// Returns the grid of a loop over `count` elements.
    pub(super) fn elements(&self, count: usize) -> Grid {
        let blocks = count.div_ceil(THREADS as usize).min(self.0.runtime.device().most_blocks() as usize);
        Grid { x: blocks as u32, y: 1, threads: THREADS, shared: 0 }
    }

    /// Launches a kernel on `rows` rows of n elements: a warp for each row if the rows are short, else a block. Appends (rows, wide) to the
    /// arguments.
    pub(super) fn launch_teams(&self, unit: &str, kernel: &str, (rows, n): (usize, usize), arguments: &[Argument]) {
        let wide = n > SHORT_ROW;
        let (blocks, threads) = if wide { (rows, THREADS) } else { (rows.div_ceil(THREADS as usize / 32), THREADS) };
        let arguments = [arguments, &[Argument::from(rows), Argument::from(i32::from(wide))]].concat();
        self.launch(&compile::unit(unit), kernel, Grid { x: int(blocks) as u32, y: 1, threads, shared: 0 }, &arguments);
    }

    /// Launches one block for each of `rows` rows of n elements.
    pub(super) fn launch_rows(&self, unit: &str, kernel: &str, (rows, n): (usize, usize), arguments: &[Argument]) {
        let threads = (n.div_ceil(32) * 32).clamp(32, THREADS as usize) as u32;
        self.launch(&compile::unit(unit), kernel, Grid { x: int(rows) as u32, y: 1, threads, shared: 0 }, arguments);
    }
}
