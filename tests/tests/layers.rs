//! Which file imports which: no circle in any crate, and in the engine the arrows go down the floors.
//!
//! A file imports another where a path in its code (`crate::…`, `super::…`, or one that begins with a submodule) leads there. Re-exports
//! are followed to where a name is defined. Comments and test modules are left out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};

/// Crates that still have circles.
const WITH_CIRCLES: [&str; 0] = [];

/// The engine's floors, from the ground up: a file imports from its own floor or from below. The longest prefix of a file's module path
/// counts.
const FLOORS: [&[&str]; 9] = [
    &[
        "scalar",
        "dual",
        "vector_math",
        "simd",
        "threads",
        "gemm",
        "buffer_pool",
        "cache_aligned",
        "mapped_file",
        "out_of_memory",
        "profile",
        "random",
    ],
    &["formula", "functions", "shape", "segments", "rotary", "sampling"],
    &["backend"],
    &["tape"],
    &["tensor", "watch"],
    &["backward", "tape::many", "rewrite", "graph"],
    &["backend::reference", "backend::cpu", "backend::cuda", "backend::device"],
    &["gradcheck"],
    &["explain", "ops", ""],
];

type Module = Vec<String>;

/// One file's code, and what its names stand for.
struct File {
    code: String,
    /// Names that `use` brings in, with the absolute paths behind them.
    names: BTreeMap<String, Module>,
}

/// The modules of a crate, by path from its root.
struct Crate(BTreeMap<Module, File>);

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] })
        .filter(|path| path.extension().is_some_and(|e| e == "rs"))
        .collect()
}

/// The code without comments and without the test module, which stands last.
fn code(text: &str) -> String {
    let lines = text.lines().take_while(|line| !line.starts_with("mod tests"));
    lines.map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// The paths of a `use` tree or of an expression at the start of `text`, and what follows them.
fn tree(text: &str) -> (Vec<Module>, &str) {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    let (name, mut rest) = (text[..end].to_owned(), &text[end..]);
    let Some(after) = rest.strip_prefix("::") else { return (vec![vec![name]], rest) };
    let mut tails = Vec::new();
    if let Some(mut inside) = after.strip_prefix('{') {
        while let Some(next) =
            inside.find(|c: char| !c.is_whitespace() && c != ',').map(|at| &inside[at..]).filter(|next| !next.starts_with('}'))
        {
            let (paths, rest) = tree(next);
            tails.extend(paths);
            inside = rest.strip_prefix('*').unwrap_or(rest);
            inside = &inside[inside.find([',', '}']).unwrap_or(inside.len())..];
        }
        rest = inside;
    } else {
        (tails, rest) = tree(after);
    }
    (tails.into_iter().map(|tail| [vec![name.clone()], tail].concat()).collect(), rest)
}

impl Crate {
    fn read(name: &str) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join(name).join("src");
        let module = |path: &Path| -> Module {
            let parts = path.strip_prefix(&root).unwrap().with_extension("");
            let parts = parts.iter().map(|part| part.to_str().unwrap().to_owned());
            parts.filter(|part| !["mod", "lib", "main"].contains(&part.as_str())).collect()
        };
        let files = sources(&root).into_iter().filter(|path| !path.ends_with("tests.rs"));
        let mut own = Self(BTreeMap::new());
        for path in files {
            let text = code(&fs::read_to_string(&path).unwrap());
            own.0.insert(module(&path), File { code: text, names: BTreeMap::new() });
        }
        let modules: Vec<Module> = own.0.keys().cloned().collect();
        for at in &modules {
            let code = own.0[at].code.clone();
            for (start, _) in
                code.match_indices("use ").filter(|(start, _)| code[..*start].chars().next_back().is_none_or(char::is_whitespace))
            {
                for path in tree(&code[start + 4..]).0 {
                    if let (Some(name), Some(path)) = (path.last().cloned(), own.absolute(at, &path)) {
                        own.0.get_mut(at).unwrap().names.insert(name, path);
                    }
                }
            }
            for definition in code.split("#[macro_export]\nmacro_rules! ").skip(1) {
                let name = definition.split(' ').next().unwrap_or_default().to_owned();
                let path = [at.clone(), vec![name.clone()]].concat();
                own.0.get_mut(&Module::new()).unwrap().names.insert(name, path);
            }
        }
        own
    }

    /// A path as written in a module from the crate's root on; `None` where it leads out of the crate.
    fn absolute(&self, at: &Module, path: &Module) -> Option<Module> {
        let supers = path.iter().take_while(|part| *part == "super").count();
        let child = [at.clone(), path[..1].to_vec()].concat();
        match path[0].as_str() {
            "crate" => Some(path[1..].to_vec()),
            "self" => Some([at.clone(), path[1..].to_vec()].concat()),
            "super" => Some([at[..at.len().checked_sub(supers)?].to_vec(), path[supers..].to_vec()].concat()),
            _ => self.0.contains_key(&child).then(|| [at.clone(), path.clone()].concat()),
        }
    }

    /// The module that defines what an absolute path names.
    fn definition(&self, path: &Module) -> Module {
        let depth = (0..=path.len()).rev().find(|&depth| self.0.contains_key(&path[..depth])).unwrap_or(0);
        let module = path[..depth].to_vec();
        match path.get(depth).and_then(|name| self.0[&module].names.get(name)) {
            Some(behind) if !behind.starts_with(&path[..=depth]) => self.definition(behind),
            _ => module,
        }
    }

    /// The modules that each module imports from.
    fn arrows(&self) -> BTreeMap<&Module, BTreeSet<Module>> {
        let of = |(at, file): (_, &File)| {
            let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == ':' || c == '$';
            let starts = file.code.match_indices("::").map(|(end, _)| {
                file.code[..end]
                    .rfind(|c| !is_part(c))
                    .map_or(0, |before| before + file.code[before..].chars().next().map_or(1, char::len_utf8))
            });
            let paths = starts.collect::<BTreeSet<usize>>().into_iter().flat_map(|start| tree(&file.code[start..]).0);
            let to: BTreeSet<Module> =
                paths.filter_map(|path| Some(self.definition(&self.absolute(at, &path)?))).filter(|to| to != at).collect();
            (at, to)
        };
        self.0.iter().map(of).collect()
    }

    /// The shortest way along the arrows from a module back to itself.
    fn circle(&self) -> Option<Vec<Module>> {
        let arrows = self.arrows();
        let back_to = |start: &Module| {
            let (mut ways, mut seen) = (VecDeque::from([vec![start.clone()]]), BTreeSet::new());
            while let Some(way) = ways.pop_front() {
                for next in &arrows[way.last().unwrap()] {
                    let longer = [way.clone(), vec![next.clone()]].concat();
                    if next == start {
                        return Some(longer);
                    }
                    if seen.insert(next.clone()) {
                        ways.push_back(longer);
                    }
                }
            }
            None
        };
        self.0.keys().filter_map(back_to).min_by_key(Vec::len)
    }
}

fn shown(way: &[Module]) -> String {
    way.iter().map(|module| module.join("::")).collect::<Vec<_>>().join(" → ")
}

#[test]
fn no_crate_has_a_circle() {
    for name in ["engine", "losses", "model", "cli"] {
        match Crate::read(name).circle() {
            Some(circle) => assert!(WITH_CIRCLES.contains(&name), "{name}: {}", shown(&circle)),
            None => assert!(!WITH_CIRCLES.contains(&name), "{name} has no circle any more: take it out of the list"),
        }
    }
}

#[test]
fn the_engines_arrows_go_down() {
    let floor = |module: &Module| {
        let path = module.join("::");
        let covers = |prefix: &str| prefix.is_empty() || path == prefix || path.starts_with(&format!("{prefix}::"));
        let all = FLOORS.iter().enumerate().flat_map(|(floor, prefixes)| prefixes.iter().map(move |prefix| (prefix.len(), floor, *prefix)));
        all.filter(|(.., prefix)| covers(prefix)).max().map(|(_, floor, _)| floor)
    };
    let engine = Crate::read("engine");
    let arrows = engine.arrows();
    assert!(arrows.values().map(BTreeSet::len).sum::<usize>() > 200, "the imports are found");
    for (from, to) in arrows.iter().flat_map(|(from, to)| to.iter().map(move |to| (*from, to))) {
        assert!(floor(to) <= floor(from), "up from {} to {}", from.join("::"), to.join("::"));
    }
}

/// The reading itself, on a crate that is only text.
#[test]
fn a_circle_through_a_re_export_is_found() {
    let files = [("", "pub use a::A;\nmod a;\nmod b;"), ("a", "use crate::b::{self, B as Other, C};"), ("b", "fn f() -> crate::A {}")];
    let module = |path: &str| if path.is_empty() { Module::new() } else { vec![path.to_owned()] };
    let file = |code: &str| File { code: code.to_owned(), names: BTreeMap::new() };
    let mut own = Crate(files.iter().map(|(path, code)| (module(path), file(code))).collect());
    own.0.get_mut(&Module::new()).unwrap().names.insert("A".to_owned(), ["a", "A"].map(str::to_owned).to_vec());
    assert_eq!(own.circle().map(|circle| shown(&circle)), Some("a → b → a".to_owned()));
}
