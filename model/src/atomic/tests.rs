use super::*;

#[test]
fn a_failed_write_leaves_the_old_file_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights");
    atomic_write(&path, b"old").unwrap();
    let failed = atomic_write_with(&path, |writer| {
        writer.write_all(b"half")?;
        Err(io::Error::other("disk full"))
    });
    assert!(failed.unwrap_err().to_string().contains("disk full"));
    assert_eq!(fs::read(&path).unwrap(), b"old");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_missing_folder_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("missing").join("file");
    let message = atomic_write(&path, b"x").unwrap_err().to_string();
    assert!(message.contains("missing"), "{message}");
}

#[test]
fn a_folder_in_a_file_s_place_is_refused_and_stays() {
    let folder = tempfile::tempdir().unwrap();
    let message = atomic_write(folder.path(), b"x").unwrap_err().to_string();
    assert!(message.ends_with("is a folder, and a file is needed"), "{message}");
    assert!(write_output(Path::new(""), b"x").unwrap_err().to_string().contains("names no file"));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[cfg(unix)]
mod unix {
    use super::*;
    use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
    use std::os::unix::net::UnixListener;
    use std::process::Command;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn a_file_keeps_its_mode_and_a_new_one_has_the_usual() {
        let folder = tempfile::tempdir().unwrap();
        let (path, usual) = (folder.path().join("file"), folder.path().join("usual"));
        fs::write(&usual, "").unwrap();
        atomic_write(&path, b"new").unwrap();
        assert_eq!(mode(&path), mode(&usual));
        for kept in [0o600, 0o640, 0o777, 0o444] {
            fs::set_permissions(&path, fs::Permissions::from_mode(kept)).unwrap();
            atomic_write(&path, b"again").unwrap();
            assert_eq!(mode(&path), kept, "{kept:o}");
        }
    }

    #[test]
    fn a_link_stays_and_what_it_leads_to_is_replaced_or_made() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir(path("there")).unwrap();
        fs::write(path("there/file"), "old").unwrap();
        symlink("there/file", path("first")).unwrap();
        symlink("first", path("second")).unwrap();
        symlink("there/missing", path("dangling")).unwrap();
        for (link, file) in [("second", "there/file"), ("dangling", "there/missing")] {
            atomic_write(&path(link), b"new").unwrap();
            assert!(fs::symlink_metadata(path(link)).unwrap().is_symlink(), "{link}");
            assert_eq!(fs::read(path(file)).unwrap(), b"new");
        }
        symlink("round", path("round")).unwrap();
        assert!(atomic_write(&path("round"), b"x").unwrap_err().to_string().contains("without an end"));
    }

    #[test]
    fn another_hard_link_keeps_the_old_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let (one, other) = (folder.path().join("one"), folder.path().join("other"));
        fs::write(&one, "old").unwrap();
        fs::hard_link(&one, &other).unwrap();
        atomic_write(&one, b"new").unwrap();
        assert_eq!((fs::read(&one).unwrap(), fs::read(&other).unwrap()), (b"new".to_vec(), b"old".to_vec()));
    }

    #[test]
    fn a_pipe_is_written_into_or_refused_and_a_socket_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (pipe, socket) = (folder.path().join("pipe"), folder.path().join("socket"));
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let message = atomic_write(&pipe, b"x").unwrap_err().to_string();
        assert!(message.contains("pipe: is a named pipe, and a regular file is needed"), "{message}");
        let reader = std::thread::spawn({
            let pipe = pipe.clone();
            move || fs::read(pipe).unwrap()
        });
        write_output(&pipe, b"page").unwrap();
        assert_eq!(reader.join().unwrap(), b"page");
        assert!(fs::symlink_metadata(&pipe).unwrap().file_type().is_fifo());
        let _listener = UnixListener::bind(&socket).unwrap();
        for refused in [atomic_write(&socket, b"x").unwrap_err().to_string(), write_output(&socket, b"x").unwrap_err().to_string()] {
            assert!(refused.contains("is a socket, and a file is needed"), "{refused}");
        }
        assert!(fs::symlink_metadata(&socket).unwrap().file_type().is_socket());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_link_to_a_device_is_written_into_or_refused() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("link");
        symlink("/dev/null", &link).unwrap();
        write_output(&link, b"x").unwrap();
        assert!(atomic_write(&link, b"x").unwrap_err().to_string().contains("is a device"));
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());
    }
}
