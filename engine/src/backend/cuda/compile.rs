//! Compiles kernels with NVRTC for the present GPU, and keeps the code on disk so that later runs start faster.
//!
//! A file of code begins with one line: the key (source hash, options, architecture, compiler version) and a checksum of the code. If this
//! line does not match, the source is compiled again.

use super::error::{CudaError, call};
use super::runtime::{Unit, hash};
use cudarc::nvrtc::{result as nvrtc, sys};
use std::ffi::CString;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// The text that every source starts with.
pub const COMMON: &str = include_str!("kernels/common.cuh");

/// Every source with kernels of fixed text.
pub const UNITS: [Unit<'static>; 8] = [
    Unit::new("arrays", include_str!("kernels/arrays.cu")),
    Unit::new("reduce", include_str!("kernels/reduce.cu")),
    Unit::new("rows", include_str!("kernels/rows.cu")),
    Unit::new("indexing", include_str!("kernels/indexing.cu")),
    Unit::new("optimizer", include_str!("kernels/optimizer.cu")),
    Unit::new("attention", include_str!("kernels/attention.cu")),
    Unit::new("flash", include_str!("kernels/flash.cu")),
    Unit::new("sampling", include_str!("kernels/sampling.cu")),
];

/// Returns the source called `name`.
pub fn unit(name: &str) -> Unit<'static> {
    UNITS.iter().find(|unit| unit.name == name).unwrap_or_else(|| panic!("no kernels are called {name}")).clone()
}

/// Lists the names of a source's kernels. A kernel is declared by `KERNEL name(`, or instantiated from a macro by `TEMPLATE(name, …)`.
pub fn kernel_names(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    for line in text.lines() {
        let declared = line.strip_prefix("KERNEL ").and_then(|rest| rest.split_once('('));
        let instantiated = || {
            let (template, rest) = line.split_once('(')?;
            let is_template = !template.is_empty() && template.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
            rest.split_once(',').filter(|_| is_template)
        };
        names.extend(declared.or_else(instantiated).map(|(name, _)| name.trim().to_owned()));
    }
    names
}

/// The kind of code that the compiler produces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Machine code of this architecture (90 for sm_90).
    Cubin(i32),
    /// Intermediate code (PTX) for this architecture. The driver translates it: for a GPU newer than the compiler.
    Ptx(i32),
}

impl Target {
    /// Chooses the target for a GPU, given the architectures that the compiler knows.
    pub fn choose(gpu: i32, known: &[i32]) -> Self {
        if known.contains(&gpu) {
            return Self::Cubin(gpu);
        }
        Self::Ptx(known.iter().copied().filter(|&architecture| architecture < gpu).max().unwrap_or(80))
    }
    fn option(self) -> String {
        match self {
            Self::Cubin(architecture) => format!("--gpu-architecture=sm_{architecture}"),
            Self::Ptx(architecture) => format!("--gpu-architecture=compute_{architecture}"),
        }
    }
    fn name(self) -> String {
        match self {
            Self::Cubin(architecture) => format!("sm_{architecture}"),
            Self::Ptx(architecture) => format!("compute_{architecture}"),
        }
    }
}

/// Everything that the code of a source depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    unit: String,
    length: usize,
    source: u64,
    target: String,
    compiler: (i32, i32),
}

impl Key {
    /// Computes the key of a whole source text.
    pub fn new(unit: &str, source: &str, target: Target, compiler: (i32, i32)) -> Self {
        Self { unit: unit.to_owned(), length: source.len(), source: hash(source.as_bytes()), target: target.name(), compiler }
    }
    /// The name of the file that keeps the code.
    pub fn file_name(&self) -> String {
        let (major, minor) = self.compiler;
        format!("{}-{:016x}-{}-nvrtc{major}.{minor}", self.unit, self.source, self.target)
    }
    /// The first line of the file that keeps the code.
    fn line(&self, code: &[u8]) -> String {
        format!("slpo kernels 1 {} {} {:016x}\n", self.file_name(), self.length, hash(code))
    }
    /// Returns the content of the file for this code.
    pub fn seal(&self, code: &[u8]) -> Vec<u8> {
        [self.line(code).as_bytes(), code].concat()
    }
    /// Returns the code in a file, or `None` if the file has another key, is cut short or damaged.
    pub fn open(&self, file: &[u8]) -> Option<Vec<u8>> {
        let end = file.iter().position(|&byte| byte == b'\n')? + 1;
        let code = &file[end..];
        (self.line(code).as_bytes() == &file[..end]).then(|| code.to_vec())
    }
}

/// Returns the folder for compiled kernels: `slpo/kernels` in the user's cache folder, or `None` if the user has none.
pub fn folder() -> Option<PathBuf> {
    folder_from(|name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from))
}

fn folder_from(variable: impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    let absolute = |path: &PathBuf| path.is_absolute();
    let base = variable("XDG_CACHE_HOME")
        .filter(absolute)
        .or_else(|| variable("LOCALAPPDATA").filter(absolute))
        .or_else(|| variable("HOME").filter(absolute).map(|home| home.join(".cache")))?;
    Some(base.join("slpo").join("kernels"))
}

/// Returns the code of a source: from its file in `folder`, or compiled and then written there. Failing to write is no error.
pub fn cached(folder: Option<&Path>, key: &Key, compile: impl FnOnce() -> Result<Vec<u8>, CudaError>) -> Result<Vec<u8>, CudaError> {
    let path = folder.map(|folder| folder.join(key.file_name()));
    if let Some(code) = path.as_ref().and_then(|path| std::fs::read(path).ok()).and_then(|file| key.open(&file)) {
        return Ok(code);
    }
    let code = compile()?;
    if let (Some(folder), Some(path)) = (folder, path) {
        let _ = keep(folder, &path, &key.seal(&code));
    }
    Ok(code)
}

/// Returns part of a file name, unique among all running processes, for files that are still being written.
pub(super) fn own_name() -> String {
    static MADE: AtomicUsize = AtomicUsize::new(0);
    format!("{}-{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed))
}

/// Writes a file whole or not at all.
fn keep(folder: &Path, path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let partial = path.with_extension(format!("partial{}", own_name()));
    std::fs::write(&partial, bytes).and_then(|()| std::fs::rename(&partial, path)).inspect_err(|_| {
        let _ = std::fs::remove_file(&partial);
    })
}

/// Returns the version of NVRTC and the architectures that it compiles for.
///
/// # Errors
/// [`CudaError::NoCompiler`] and [`CudaError::Call`].
pub fn compiler() -> Result<((i32, i32), Vec<i32>), CudaError> {
    // SAFETY: only looks for the library.
    if !unsafe { sys::is_culib_present() } {
        return Err(CudaError::NoCompiler);
    }
    let (mut major, mut minor, mut count) = (0, 0, 0);
    // SAFETY: the library is there, and the pointers are to live numbers.
    unsafe {
        call("nvrtcVersion", sys::nvrtcVersion(&mut major, &mut minor).result())?;
        call("nvrtcGetNumSupportedArchs", sys::nvrtcGetNumSupportedArchs(&mut count).result())?;
    }
    let mut known = vec![0; count.max(0) as usize];
    // SAFETY: the buffer has as many entries as the library said.
    unsafe { call("nvrtcGetSupportedArchs", sys::nvrtcGetSupportedArchs(known.as_mut_ptr()).result())? };
    Ok(((major, minor), known))
}

/// Returns the text of a source with the common part before it.
pub fn whole(unit: &Unit<'_>) -> String {
    format!("{COMMON}\n{}", unit.text)
}

/// Compiles a source. Returns the code and the compiler's log. [`compiler`] must have succeeded before.
///
/// # Errors
/// [`CudaError::Compile`] with the compiler's messages.
pub fn compile(unit: &Unit<'_>, target: Target) -> Result<(Vec<u8>, String), CudaError> {
    let failed = |log: String| CudaError::Compile { unit: unit.name.to_owned(), log };
    let source = CString::new(whole(unit)).map_err(|error| failed(error.to_string()))?;
    let name = CString::new(format!("{}.cu", unit.name)).map_err(|error| failed(error.to_string()))?;
    let program = call("nvrtcCreateProgram", nvrtc::create_program(&source, Some(&name)))?;
    // The lambdas have no `__device__`, so `--device-as-default-execution-space` makes every function one of the device.
    let fixed = ["--std=c++17", "--device-as-default-execution-space", "--ptxas-options=-v"].map(str::to_owned);
    let options: Vec<String> = std::iter::once(target.option()).chain(fixed).collect();
    // SAFETY: the program is live until it is destroyed below, once.
    unsafe {
        let outcome = nvrtc::compile_program(program, &options);
        let log = nvrtc::get_program_log(program).map(|log| text_of(&log)).unwrap_or_default();
        let code = outcome.map_err(|error| failed(format!("{error} {log}"))).and_then(|()| code_of(program, target));
        let _ = nvrtc::destroy_program(program);
        Ok((code?, log))
    }
}

fn text_of(characters: &[std::ffi::c_char]) -> String {
    let bytes: Vec<u8> = characters.iter().map(|&c| c as u8).take_while(|&byte| byte != 0).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// # Safety
/// The program must be live and compiled for `target`.
unsafe fn code_of(program: sys::nvrtcProgram, target: Target) -> Result<Vec<u8>, CudaError> {
    // SAFETY: the caller's promise; the buffer is as large as the library says.
    unsafe {
        match target {
            Target::Ptx(_) => call("nvrtcGetPTX", nvrtc::get_ptx(program)).map(|text| text.iter().map(|&c| c as u8).collect()),
            Target::Cubin(_) => {
                let mut size = 0;
                call("nvrtcGetCUBINSize", sys::nvrtcGetCUBINSize(program, &mut size).result())?;
                let mut code = vec![0u8; size];
                call("nvrtcGetCUBIN", sys::nvrtcGetCUBIN(program, code.as_mut_ptr().cast()).result())?;
                Ok(code)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Key {
        Key::new("rows", "source", Target::Cubin(90), (12, 9))
    }

    #[test]
    fn a_key_changes_with_everything_that_the_code_depends_on() {
        let others = [
            Key::new("rows", "Source", Target::Cubin(90), (12, 9)),
            Key::new("rows", "source", Target::Cubin(80), (12, 9)),
            Key::new("rows", "source", Target::Ptx(90), (12, 9)),
            Key::new("rows", "source", Target::Cubin(90), (13, 0)),
            Key::new("arrays", "source", Target::Cubin(90), (12, 9)),
        ];
        for other in others {
            assert_ne!(other.file_name(), key().file_name());
            assert_eq!(other.open(&key().seal(b"code")), None);
        }
    }

    #[test]
    fn a_damaged_or_cut_file_is_not_opened() {
        let sealed = key().seal(b"machine\ncode");
        assert_eq!(key().open(&sealed).as_deref(), Some(&b"machine\ncode"[..]));
        for i in 0..sealed.len() {
            let mut damaged = sealed.clone();
            damaged[i] ^= 1;
            assert_eq!(key().open(&damaged), None, "byte {i}");
            assert_eq!(key().open(&sealed[..i]), None, "cut at {i}");
        }
    }

    #[test]
    fn a_bad_file_is_compiled_again_and_replaced() {
        let folder = std::env::temp_dir().join(format!("slpo-kernels-{}", std::process::id()));
        let compiled = |code: &'static [u8]| cached(Some(&folder), &key(), || Ok(code.to_vec())).unwrap();
        assert_eq!(compiled(b"first"), b"first");
        assert_eq!(compiled(b"second"), b"first", "the kept code serves");
        std::fs::write(folder.join(key().file_name()), b"slpo kernels 1 of another program\nxx").unwrap();
        assert_eq!(compiled(b"third"), b"third");
        assert_eq!(compiled(b"fourth"), b"third");
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_no_failure() {
        let nowhere = Path::new("/dev/null/kernels");
        assert_eq!(cached(Some(nowhere), &key(), || Ok(b"code".to_vec())).unwrap(), b"code");
        assert_eq!(cached(None, &key(), || Ok(b"code".to_vec())).unwrap(), b"code");
    }

    #[test]
    #[cfg(unix)]
    fn the_folder_is_in_the_users_cache() {
        let with = |name: &'static str, value: &'static str| folder_from(move |asked| (asked == name).then(|| PathBuf::from(value)));
        assert_eq!(with("XDG_CACHE_HOME", "/c"), Some(PathBuf::from("/c/slpo/kernels")));
        assert_eq!(with("XDG_CACHE_HOME", "relative"), None);
        assert_eq!(with("HOME", "/home/a"), Some(PathBuf::from("/home/a/.cache/slpo/kernels")));
    }

    #[test]
    fn a_gpu_newer_than_the_compiler_gets_intermediate_code() {
        assert_eq!(Target::choose(90, &[80, 90]), Target::Cubin(90));
        assert_eq!(Target::choose(120, &[80, 90]), Target::Ptx(90));
    }

    #[test]
    fn every_source_has_kernels_and_each_name_is_used_once() {
        let mut names: Vec<String> = UNITS.iter().flat_map(|unit| kernel_names(unit.text)).collect();
        let count = names.len();
        assert!(UNITS.iter().all(|unit| !kernel_names(unit.text).is_empty()));
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
        assert!(names.contains(&"attention_keys_128".to_owned()) && names.contains(&"softmax_vjp".to_owned()));
    }
}
