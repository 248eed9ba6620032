//! The number of this process and the number of all, from the environment that torchrun or mpirun sets.

use crate::error::{Error, Result};
use std::fmt;
use std::time::Duration;

/// Time that processes wait for each other at the start, unless `SLPO_JOIN_SECONDS` is set.
const JOIN_SECONDS: u64 = 300;

/// Largest number of processes over TCP. The first process has a connection to each.
const LARGEST_SIZE: u64 = 1024;

/// Least number of bytes of a secret. Whoever records a handshake can guess the secret offline, so a short one is worthless.
const SHORTEST_SECRET: usize = 16;

/// The way this process was started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Launch {
    /// Started as a single process.
    Alone,
    /// Started as torchrun does: with `RANK` and `WORLD_SIZE`.
    Ranked(Place),
    /// Started by mpirun, of OpenMPI or MPICH.
    Mpi,
}

/// A process's number, and the address of the first process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// This process's number, from 0 (`RANK`).
    pub rank: usize,
    /// The number of processes (`WORLD_SIZE`).
    pub size: usize,
    /// The first process's host (`MASTER_ADDR`); empty for one process.
    pub host: String,
    /// The port that the first process listens at (`MASTER_PORT`); 0 for one process.
    pub port: u16,
    /// Time that processes wait for each other at the start.
    pub join_limit: Duration,
    /// The run's secret (`SLPO_GROUP_SECRET`).
    pub secret: Option<Secret>,
}

/// A text that only the processes of a run know, by which they recognise each other. It is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Makes a secret from its text.
    ///
    /// # Errors
    /// [`Error::Launch`] where it is too short.
    pub fn new(text: &str) -> Result<Self> {
        if text.len() < SHORTEST_SECRET {
            return Err(Error::Launch(format!(
                "SLPO_GROUP_SECRET has {} bytes: take at least {SHORTEST_SECRET} that nobody can guess, or unset it",
                text.len()
            )));
        }
        Ok(Self(text.to_owned()))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("Secret(…)")
    }
}

/// Reads an environment variable. Invalid Unicode is replaced by a character that no number and no address contains.
fn variable(name: &str) -> Option<String> {
    std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
}

/// A function that reads a variable.
type Variable<'a> = &'a dyn Fn(&str) -> Option<String>;

impl Launch {
    /// Reads this process's environment.
    ///
    /// # Errors
    /// [`Error::Launch`] if the variables contradict each other.
    pub fn from_environment() -> Result<Self> {
        Self::read(&variable)
    }

    fn read(variable: Variable) -> Result<Self> {
        match (variable("RANK"), variable("WORLD_SIZE")) {
            (Some(_), Some(_)) => Place::read(variable).map(Self::Ranked),
            (Some(_), None) => Err(Error::Launch("RANK is set and WORLD_SIZE is not: set both, or neither".to_owned())),
            (None, Some(_)) => Err(Error::Launch("WORLD_SIZE is set and RANK is not: set both, or neither".to_owned())),
            (None, None) if ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE"].iter().any(|name| variable(name).is_some()) => Ok(Self::Mpi),
            (None, None) => Ok(Self::Alone),
        }
    }
}

impl Place {
    fn read(variable: Variable) -> Result<Self> {
        let [rank, size] = [number(variable, "RANK")?, number(variable, "WORLD_SIZE")?];
        if size == 0 || size > LARGEST_SIZE {
            return Err(Error::Launch(format!("WORLD_SIZE is {size}: the number of processes goes from 1 to {LARGEST_SIZE}")));
        }
        if rank >= size {
            return Err(Error::Launch(format!("RANK is {rank} and WORLD_SIZE {size}: ranks go from 0 to WORLD_SIZE - 1")));
        }
        check_local(variable, size)?;
        let seconds = variable("SLPO_JOIN_SECONDS").map(|_| number(variable, "SLPO_JOIN_SECONDS")).transpose()?;
        if seconds == Some(0) {
            return Err(Error::Launch("SLPO_JOIN_SECONDS is 0: give the processes at least a second to meet".to_owned()));
        }
        let join_limit = Duration::from_secs(seconds.unwrap_or(JOIN_SECONDS));
        let secret = variable("SLPO_GROUP_SECRET").map(|text| Secret::new(&text)).transpose()?;
        let place = Self { rank: rank as usize, size: size as usize, host: String::new(), port: 0, join_limit, secret };
        if size == 1 {
            return Ok(place);
        }
        let needed = |name: &str| {
            let missing = || Error::Launch(format!("WORLD_SIZE is {size} and {name} is not set: it says where the processes meet"));
            variable(name).filter(|value| !value.is_empty()).ok_or_else(missing)
        };
        let host = needed("MASTER_ADDR")?;
        needed("MASTER_PORT")?;
        let port = number(variable, "MASTER_PORT")?;
        // torchrun itself listens at MASTER_PORT if this variable is true, so the processes use the next port.
        let port = port + u64::from(variable("TORCHELASTIC_USE_AGENT_STORE").is_some_and(|value| value.eq_ignore_ascii_case("true")));
        let bad_port = |_| Error::Launch(format!("MASTER_PORT gives port {port}: ports go from 1 to 65535"));
        let port = u16::try_from(port).map_err(bad_port).and_then(|port| {
            if port == 0 { Err(Error::Launch("MASTER_PORT is 0: ports go from 1 to 65535".to_owned())) } else { Ok(port) }
        })?;
        Ok(Self { host, port, ..place })
    }
}

/// Checks the variables that describe the processes on this machine.
fn check_local(variable: Variable, size: u64) -> Result<()> {
    let read = |name: &str| variable(name).map(|_| number(variable, name)).transpose();
    let (local, local_size) = (read("LOCAL_RANK")?, read("LOCAL_WORLD_SIZE")?);
    match (local, local_size) {
        (_, Some(local_size)) if local_size == 0 || local_size > size => Err(Error::Launch(format!(
            "LOCAL_WORLD_SIZE is {local_size} and WORLD_SIZE {size}: the processes on this machine are from 1 to all"
        ))),
        (Some(local), _) if local >= local_size.unwrap_or(size) => Err(Error::Launch(format!(
            "LOCAL_RANK is {local}, and this machine has {} processes at most: local ranks go from 0",
            local_size.unwrap_or(size)
        ))),
        _ => Ok(()),
    }
}

fn number(variable: Variable, name: &str) -> Result<u64> {
    let value = variable(name).unwrap_or_default();
    let number = value.trim().parse::<u32>().map(u64::from);
    number.map_err(|_| Error::Launch(format!("{name} is {value:?}, and must be a whole number from 0 to {}", u32::MAX)))
}

/// Returns this process's number on its machine, from 0 (`LOCAL_RANK`, or what mpirun sets). It selects this process's GPU.
///
/// # Errors
/// [`Error::Launch`] where it is no number.
pub fn local_rank() -> Result<Option<usize>> {
    first_of(&["LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID"])
}

/// Returns the number of processes on this machine (`LOCAL_WORLD_SIZE`, or what mpirun sets), if it is known.
///
/// # Errors
/// [`Error::Launch`] where it is no number.
pub fn local_size() -> Result<Option<usize>> {
    first_of(&["LOCAL_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_SIZE", "MPI_LOCALNRANKS"])
}

fn first_of(names: &[&str]) -> Result<Option<usize>> {
    let variable: Variable = &variable;
    let named = names.iter().find(|name| variable(name).is_some());
    named.map(|name| number(variable, name).map(|number| number as usize)).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Launch> {
        Launch::read(&|name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn the_environment_of_torchrun_and_of_mpirun_is_read() {
        assert_eq!(read(&[]).unwrap(), Launch::Alone);
        assert_eq!(read(&[("OMPI_COMM_WORLD_SIZE", "2")]).unwrap(), Launch::Mpi);
        let torchrun = [("RANK", "1"), ("WORLD_SIZE", "2"), ("MASTER_ADDR", "localhost"), ("MASTER_PORT", "29500")];
        let place =
            Place { rank: 1, size: 2, host: "localhost".to_owned(), port: 29500, join_limit: Duration::from_secs(300), secret: None };
        assert_eq!(read(&torchrun).unwrap(), Launch::Ranked(place.clone()));
        let with = |more: (&'static str, &'static str)| [&torchrun[..], &[more]].concat();
        let agent = read(&with(("TORCHELASTIC_USE_AGENT_STORE", "True"))).unwrap();
        assert_eq!(agent, Launch::Ranked(Place { port: 29501, ..place.clone() }));
        let hurried = read(&with(("SLPO_JOIN_SECONDS", "7"))).unwrap();
        assert_eq!(hurried, Launch::Ranked(Place { join_limit: Duration::from_secs(7), ..place }));
        assert!(matches!(read(&[("RANK", "0"), ("WORLD_SIZE", "1")]).unwrap(), Launch::Ranked(Place { rank: 0, size: 1, .. })));
    }

    #[test]
    fn an_environment_that_contradicts_itself_is_refused_in_words() {
        let cases: [(&[(&str, &str)], &str); 18] = [
            (&[("RANK", "0")], "RANK is set and WORLD_SIZE is not"),
            (&[("WORLD_SIZE", "2")], "WORLD_SIZE is set and RANK is not"),
            (&[("RANK", "2"), ("WORLD_SIZE", "2")], "RANK is 2 and WORLD_SIZE 2"),
            (&[("RANK", "one"), ("WORLD_SIZE", "2")], "RANK is \"one\""),
            (&[("RANK", "0"), ("WORLD_SIZE", "2")], "MASTER_ADDR is not set"),
            (&[("RANK", "0"), ("WORLD_SIZE", "2"), ("MASTER_ADDR", "a")], "MASTER_PORT is not set"),
            (&[("RANK", "0"), ("WORLD_SIZE", "2"), ("MASTER_ADDR", "a"), ("MASTER_PORT", "65536")], "ports go from 1 to 65535"),
            (&[("RANK", "0"), ("WORLD_SIZE", "2"), ("MASTER_ADDR", "a"), ("MASTER_PORT", "0")], "ports go from 1 to 65535"),
            (&[("RANK", "0"), ("WORLD_SIZE", "0")], "WORLD_SIZE is 0: the number of processes goes from 1"),
            (&[("RANK", "0"), ("WORLD_SIZE", "1000000000")], "WORLD_SIZE is 1000000000: the number of processes goes from 1 to 1024"),
            (&[("RANK", "0"), ("WORLD_SIZE", "10000000000")], "WORLD_SIZE is \"10000000000\""),
            (&[("RANK", "-1"), ("WORLD_SIZE", "2")], "RANK is \"-1\""),
            (&[("RANK", ""), ("WORLD_SIZE", "2")], "RANK is \"\""),
            (&[("RANK", "0"), ("WORLD_SIZE", "2"), ("LOCAL_RANK", "x")], "LOCAL_RANK is \"x\""),
            (&[("RANK", "0"), ("WORLD_SIZE", "2"), ("LOCAL_RANK", "2")], "LOCAL_RANK is 2, and this machine has 2 processes at most"),
            (&[("RANK", "0"), ("WORLD_SIZE", "2"), ("LOCAL_WORLD_SIZE", "3")], "LOCAL_WORLD_SIZE is 3 and WORLD_SIZE 2"),
            (&[("RANK", "0"), ("WORLD_SIZE", "1"), ("SLPO_JOIN_SECONDS", "0")], "SLPO_JOIN_SECONDS is 0"),
            (&[("RANK", "0"), ("WORLD_SIZE", "1"), ("SLPO_GROUP_SECRET", "short")], "SLPO_GROUP_SECRET has 5 bytes"),
        ];
        for (variables, expected) in cases {
            let message = read(variables).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
    }
}
