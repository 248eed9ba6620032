use super::*;

/// Writes a model of one word into the folder that is being made.
fn fill(folder: &WholeFolder, word: &str) {
    for name in ["config.json", "model.safetensors", "tokenizer.json"] {
        fs::write(folder.path().join(name), word).unwrap();
    }
}

fn put(place: &Path, replace: bool, word: &str) -> Result<()> {
    let folder = WholeFolder::begin(place, replace)?;
    fill(&folder, word);
    folder.finish()
}

#[track_caller]
fn holds(place: &Path, word: &str) {
    for name in ["config.json", "model.safetensors", "tokenizer.json"] {
        assert_eq!(fs::read_to_string(place.join(name)).unwrap(), word, "{name}");
    }
}

/// Every name in a folder, hidden ones too.
fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_new_folder_is_there_when_it_is_finished_and_not_before() {
    let parent = tempfile::tempdir().unwrap();
    let place = parent.path().join("above/model");
    let folder = WholeFolder::begin(&place, false).unwrap();
    fill(&folder, "one");
    assert!(!place.exists());
    folder.finish().unwrap();
    holds(&place, "one");
    assert_eq!(names(&parent.path().join("above")), ["model"]);
    drop(WholeFolder::begin(&parent.path().join("given-up"), false).unwrap());
    assert_eq!(names(parent.path()), ["above"], "nothing is left of a folder that was given up");
}

#[test]
fn a_folder_without_a_model_keeps_what_is_in_it() {
    let parent = tempfile::tempdir().unwrap();
    let place = parent.path().join("model");
    fs::create_dir(&place).unwrap();
    fs::write(place.join("notes.txt"), "mine").unwrap();
    let folder = WholeFolder::begin(&place, false).unwrap();
    fill(&folder, "one");
    assert!(folder.path().starts_with(fs::canonicalize(&place).unwrap()), "on the same disk, whatever is mounted there");
    folder.finish().unwrap();
    holds(&place, "one");
    assert_eq!(names(&place), ["config.json", "model.safetensors", "notes.txt", "tokenizer.json"]);
}

#[test]
fn what_comes_meanwhile_is_not_overwritten() {
    let parent = tempfile::tempdir().unwrap();
    for exists in [false, true] {
        let place = parent.path().join(format!("model-{exists}"));
        if exists {
            fs::create_dir(&place).unwrap();
        }
        let folder = WholeFolder::begin(&place, false).unwrap();
        fill(&folder, "two");
        put(&place, false, "one").unwrap();
        folder.finish().unwrap_err();
        holds(&place, "one");
    }
    assert_eq!(names(parent.path()), ["model-false", "model-true"]);
}

#[test]
fn a_model_is_replaced_only_where_that_is_asked_for_and_the_rest_stays() {
    let parent = tempfile::tempdir().unwrap();
    let place = parent.path().join("model");
    put(&place, false, "one").unwrap();
    let message = put(&place, false, "two").unwrap_err().to_string();
    assert!(message.ends_with("model: already holds a model (model.safetensors is there)"), "{message}");
    holds(&place, "one");
    fs::create_dir_all(place.join("deep/er")).unwrap();
    for (name, text) in [("notes.txt", "mine"), ("deep/er/notes", "also"), ("vocab.json", "of the old tokenizer")] {
        fs::write(place.join(name), text).unwrap();
    }
    put(&place, true, "two").unwrap();
    holds(&place, "two");
    assert_eq!(fs::read_to_string(place.join("notes.txt")).unwrap(), "mine");
    assert_eq!(fs::read_to_string(place.join("deep/er/notes")).unwrap(), "also");
    assert!(!place.join("vocab.json").exists(), "the old model goes as a whole");
    assert_eq!(names(parent.path()), ["model"]);
}

#[test]
fn a_replacement_that_fails_leaves_the_old_model() {
    let parent = tempfile::tempdir().unwrap();
    let place = parent.path().join("model");
    put(&place, false, "one").unwrap();
    let folder = WholeFolder::begin(&place, true).unwrap();
    fill(&folder, "half");
    let lost = folder.at_place(Error::bad_file(folder.path().join("config.json"), "no space"));
    assert_eq!(lost.to_string(), format!("{}: no space", fs::canonicalize(&place).unwrap().join("config.json").display()));
    drop(folder);
    holds(&place, "one");
    assert_eq!(names(parent.path()), ["model"]);
}

#[test]
fn two_steps_leave_the_new_folder_or_the_old_one_in_its_place() {
    let parent = tempfile::tempdir().unwrap();
    let (new, place) = (parent.path().join("new"), parent.path().join("model"));
    put(&place, false, "one").unwrap();
    swap_in_two_steps(&new, &place).unwrap_err();
    holds(&place, "one");
    put(&new, false, "two").unwrap();
    let old = swap_in_two_steps(&new, &place).unwrap();
    holds(&place, "two");
    holds(&old, "one");
    assert!(old.to_str().unwrap().contains("model.replaced-by-"), "{}", old.display());
}

#[test]
fn what_a_killed_process_left_is_removed_and_what_a_living_one_makes_is_not() {
    let parent = tempfile::tempdir().unwrap();
    let place = parent.path().join("model");
    let dead = parent.path().join(".model.4194304.0.tmp");
    let others = [".model.tmp", ".model.x.0.tmp", ".other.4194304.0.tmp"];
    for folder in others.map(|name| parent.path().join(name)).iter().chain([&dead]) {
        fs::create_dir(folder).unwrap();
    }
    let living = WholeFolder::begin(&place, false).unwrap();
    assert!(!dead.exists());
    drop(WholeFolder::begin(&place, false).unwrap());
    assert!(living.path().is_dir() && others.iter().all(|name| parent.path().join(name).is_dir()));
}

#[cfg(unix)]
#[test]
fn a_link_to_a_folder_stays_and_its_folder_keeps_its_mode() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let parent = tempfile::tempdir().unwrap();
    let (real, link) = (parent.path().join("real"), parent.path().join("link"));
    symlink("real", &link).unwrap();
    put(&link, false, "one").unwrap();
    fs::set_permissions(&real, fs::Permissions::from_mode(0o750)).unwrap();
    symlink("nowhere", real.join("dangling")).unwrap();
    put(&link, true, "two").unwrap();
    holds(&real, "two");
    assert!(link.is_symlink() && real.join("dangling").is_symlink());
    assert_eq!(fs::metadata(&real).unwrap().permissions().mode() & 0o7777, 0o750);
    let message = put(Path::new("/dev/null"), true, "x").unwrap_err().to_string();
    assert!(message.contains("is a file, and a model needs a folder"), "{message}");
}
