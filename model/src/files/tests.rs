use super::*;
use std::path::PathBuf;

const SMALL: Limit = Limit { bytes: 4, of: "a test" };

fn folder_with(name: &str, text: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, text).unwrap();
    (folder, path)
}

#[test]
fn a_file_up_to_the_limit_is_read_and_a_longer_one_named() {
    let (folder, path) = folder_with("four", b"four");
    assert_eq!(read(&path, SMALL).unwrap(), b"four");
    fs::write(&path, "five!").unwrap();
    let message = read(&path, SMALL).unwrap_err().to_string();
    assert!(message.ends_with("four: has 5 bytes, and a test may have 4 bytes at most"), "{message}");
    // A sparse file takes no room on the disk.
    let large = folder.path().join("large");
    File::create(&large).unwrap().set_len(1 << 42).unwrap();
    let message = read(&large, SETTINGS).unwrap_err().to_string();
    assert!(message.ends_with("large: has 4096.0 GiB, and settings may have 16 MiB at most"), "{message}");
    let message = read_data(&large).unwrap_err().to_string();
    assert!(message.contains("large: has 4096.0 GiB, and a file that is read into memory may have "), "{message}");
}

#[test]
fn what_never_ends_is_read_up_to_the_limit() {
    let message = read_up_to(Path::new("grows"), io::repeat(1), 0, SMALL).unwrap_err().to_string();
    assert_eq!(message, "grows: is longer, and a test may have 4 bytes at most");
}

#[test]
fn text_that_is_not_utf_8_is_named_with_its_line() {
    let (_folder, path) = folder_with("text", b"a\nb\xff");
    let message = read_text(&path, SETTINGS).unwrap_err().to_string();
    assert!(message.ends_with("text:2: not UTF-8 text"), "{message}");
}

#[test]
fn a_folder_or_nothing_is_named() {
    let folder = tempfile::tempdir().unwrap();
    for message in [read(folder.path(), SMALL).unwrap_err(), read_data(folder.path()).unwrap_err()].map(|error| error.to_string()) {
        assert!(message.contains(": is a folder"), "{message}");
    }
    assert!(read(&folder.path().join("none"), SMALL).unwrap_err().to_string().contains("none: there is no such file or folder"));
}

#[cfg(unix)]
#[test]
fn pipes_devices_and_sockets_are_named_at_once() {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    assert!(std::process::Command::new("mkfifo").arg(path("pipe")).status().unwrap().success());
    symlink("/dev/zero", path("endless")).unwrap();
    symlink("pipe", path("linked")).unwrap();
    let _listener = UnixListener::bind(path("socket")).unwrap();
    for (name, kind) in [("pipe", "a named pipe"), ("linked", "a named pipe"), ("endless", "a device"), ("socket", "a socket")] {
        for message in [read(&path(name), SMALL).unwrap_err(), read_data(&path(name)).unwrap_err()].map(|error| error.to_string()) {
            assert!(message.contains(&format!("{name}: is {kind}")), "{message}");
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn paths_that_stand_for_a_descriptor() {
    use std::os::unix::fs::symlink;
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("link");
    symlink("/dev/stdin", &link).unwrap();
    for (path, number) in [(link.as_path(), Some(0)), (Path::new("/dev/stdout"), Some(1)), (Path::new("/dev/fd/63"), Some(63))] {
        assert_eq!(descriptor::of(path), number, "{}", path.display());
    }
    for path in [folder.path(), Path::new("/dev/null"), Path::new("/proc/self/fd")] {
        assert_eq!(descriptor::of(path), None, "{}", path.display());
    }
}
