//! The manifest of a checkpoint: the name, the length and the CRC-32C of each file. It reveals damage before anything is used.

use crate::atomic::atomic_write;
use crate::error::{Error, Result};
use crate::files::{self, Limit};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::{ErrorKind, Read};
use std::path::Path;

/// The name of the manifest, which is written last.
pub const FILE: &str = "manifest.json";
/// The version that this program writes, and the only one that it reads.
const VERSION: u64 = 1;
/// Largest size of a manifest. It lists a handful of files, so a longer file is no manifest.
const LONGEST: Limit = Limit { bytes: 1 << 16, of: "a manifest" };

#[derive(Debug, Serialize, Deserialize)]
struct Manifest {
    version: u64,
    files: BTreeMap<String, Entry>,
}

/// The length and checksum that a file must have.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    bytes: u64,
    crc32c: u32,
}

/// Writes the manifest of the files `names` in `folder`. They must be complete.
///
/// # Errors
/// [`Error::Io`].
pub fn write(folder: &Path, names: &[&str]) -> Result<()> {
    let entry = |name: &&str| Ok(((*name).to_owned(), measure(&folder.join(name))?));
    let manifest = Manifest { version: VERSION, files: names.iter().map(entry).collect::<Result<_>>()? };
    let path = folder.join(FILE);
    let text = serde_json::to_vec_pretty(&manifest).map_err(Error::json(&path))?;
    atomic_write(&path, &text)
}

/// Checks every file of a folder against its manifest, which must name at least `names`.
///
/// # Errors
/// [`Error::BadFile`] naming the first file that is missing, cut or changed; [`Error::Io`].
pub fn check(folder: &Path, names: &[&str]) -> Result<()> {
    let path = folder.join(FILE);
    let manifest = read(&path)?;
    if let Some(missing) = names.iter().find(|name| !manifest.files.contains_key(**name)) {
        return Err(Error::bad_file(path, format!("it does not list {missing}")));
    }
    for (name, expected) in &manifest.files {
        if Path::new(name).file_name() != Some(name.as_ref()) {
            return Err(Error::bad_file(path, format!("{name:?} must be the name of a file in the same folder")));
        }
        let found = measure(&folder.join(name))?;
        if found != *expected {
            let reason = match found.bytes == expected.bytes {
                true => "its checksum is not the one it was written with: damaged".to_owned(),
                false => format!("it has {} bytes and was written with {}: damaged", found.bytes, expected.bytes),
            };
            return Err(Error::bad_file(folder.join(name), reason));
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<Manifest> {
    let bytes = files::read(path, LONGEST)?;
    let manifest: Manifest = serde_json::from_slice(&bytes).map_err(Error::json(path))?;
    if manifest.version != VERSION {
        let reason = format!("a checkpoint of version {}, and this slpo reads version {VERSION}", manifest.version);
        return Err(Error::bad_file(path, reason));
    }
    Ok(manifest)
}

fn measure(path: &Path) -> Result<Entry> {
    let mut file = files::open(path)?;
    let (mut buffer, mut entry) = (vec![0; 1 << 16], Entry { bytes: 0, crc32c: 0 });
    loop {
        let count = match file.read(&mut buffer) {
            Ok(0) => return Ok(entry),
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            count => count.map_err(Error::io(path))?,
        };
        entry.bytes += count as u64;
        entry.crc32c = crc32c::crc32c_append(entry.crc32c, &buffer[..count]);
    }
}
