//! What can be checked: the registries of ops, losses, blocks and decoders, and the names that choose among them.

use crate::failure::Failure;
use engine::gradcheck::Entry;
use model::gradcheck::aligned;

/// The parts of the suite. Their names can be chosen too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Ops,
    Losses,
    Blocks,
    Decoders,
}

impl Part {
    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ops => "ops",
            Self::Losses => "losses",
            Self::Blocks => "blocks",
            Self::Decoders => "decoders",
        }
    }

    /// The number of samples for each subject. Models have fewer, because they have hundreds of parameters.
    pub fn samples(self, quick: bool) -> u64 {
        match (self, quick) {
            (Self::Ops | Self::Losses, false) => 12,
            (Self::Ops | Self::Losses, true) => 3,
            (Self::Blocks | Self::Decoders, false) => 2,
            (Self::Blocks | Self::Decoders, true) => 1,
        }
    }
}

/// Something to check.
pub struct Subject {
    /// Its name and its samples.
    pub entry: Entry,
    /// The part of the suite that it belongs to.
    pub part: Part,
}

/// Lists all subjects, in the order of reports.
fn all() -> Vec<Subject> {
    let of = |part, entries: Vec<Entry>| entries.into_iter().map(move |entry| Subject { entry, part });
    let models = model::gradcheck::registry().into_iter().map(|entry| {
        let part = if entry.name.starts_with("block-") { Part::Blocks } else { Part::Decoders };
        Subject { entry, part }
    });
    of(Part::Ops, engine::ops::registry())
        .chain(of(Part::Losses, losses::registry()))
        .chain(models)
        .chain(of(Part::Decoders, aligned::registry()))
        .collect()
}

/// Returns the subjects that the names choose, or all if there are no names. A name can be:
///
/// - a subject (`decoder-gpt2`),
/// - a part of the suite (`losses`),
/// - the beginning of names up to a hyphen or an underscore (`decoder`),
/// - a pattern with `*`.
///
/// The name of a subject chooses this subject alone.
///
/// # Errors
/// [`Failure::Usage`] for a name that chooses nothing.
pub fn chosen(names: &[String]) -> Result<Vec<Subject>, Failure> {
    let all = all();
    let mut wanted = vec![names.is_empty(); all.len()];
    for name in names {
        let exact = all.iter().any(|subject| subject.entry.name == name);
        let fits = |subject: &Subject| if exact { subject.entry.name == name } else { means(name, subject) };
        let found: Vec<usize> = (0..all.len()).filter(|&i| fits(&all[i])).collect();
        if found.is_empty() {
            return Err(unknown(name, &all));
        }
        found.into_iter().for_each(|i| wanted[i] = true);
    }
    Ok(all.into_iter().zip(wanted).filter_map(|(subject, wanted)| wanted.then_some(subject)).collect())
}

/// True if `name` chooses the subject as the name of its part, as the beginning of its name, or as a pattern.
fn means(name: &str, subject: &Subject) -> bool {
    let own = subject.entry.name;
    let begins = || own.strip_prefix(name).is_some_and(|rest| rest.starts_with(['-', '_']));
    name == subject.part.name() || if name.contains('*') { matches(name, own) } else { begins() }
}

/// True if a name matches a pattern in which `*` stands for any text.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((start, rest)) => name.strip_prefix(start).is_some_and(|name| {
            let places = (0..=name.len()).filter(|&at| name.is_char_boundary(at));
            places.into_iter().any(|at| matches(rest, &name[at..]))
        }),
    }
}

fn unknown(name: &str, all: &[Subject]) -> Failure {
    let known: Vec<&str> = all.iter().filter(|s| s.part != Part::Decoders).map(|subject| subject.entry.name).collect();
    Failure::Usage(format!(
        "nothing to check is called {name:?}; there are ops, losses, blocks and decoders, decoder-llama or decoder-gpt2 with any loss \
         (decoder-llama-dpo), patterns (*-dpo), and {}",
        known.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(of: &[&str]) -> Vec<&'static str> {
        let of: Vec<String> = of.iter().map(|name| name.to_string()).collect();
        chosen(&of).unwrap_or_else(|failure| panic!("{failure}")).iter().map(|subject| subject.entry.name).collect()
    }

    #[test]
    fn names_choose_one_a_family_a_part_or_a_pattern() {
        assert_eq!(names(&["softmax"]), ["softmax"]);
        assert_eq!(names(&["softmax", "add"]), ["add", "softmax"]);
        assert_eq!(names(&["decoder-llama"]), ["decoder-llama"]);
        assert_eq!(names(&["block"]), names(&["blocks"]));
        assert_eq!(names(&["slpo"]), ["slpo"]);
        assert_eq!(names(&["*2-dpo", "*a-dpo"]), ["beta-dpo", "decoder-llama-dpo", "decoder-llama-beta-dpo", "decoder-gpt2-dpo"]);
        assert!(names(&["*-dpo"]).iter().all(|name| name.ends_with("-dpo")));
        assert_eq!(names(&["decoder"]), names(&["decoders"]));
        assert!(names(&["losses"]).contains(&"slpo-exact") && !names(&["losses"]).contains(&"softmax"));
        assert_eq!(names(&[]).len(), names(&["ops", "losses", "blocks", "decoders"]).len());
    }

    #[test]
    fn a_name_is_never_given_twice() {
        let mut all = names(&[]);
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
    }
}
