//! The socket file: who gets it, who takes it over, who removes it.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Barrier;

use airssys_wasm_console::{ControlSocket, SOCKET_PATH_BYTES_MAX, SocketDirectory, SocketError};

use crate::fixture::Directory;

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_socket_is_its_owners_alone_and_leaves_nothing_behind() {
    let directory = Directory::new();
    let path = directory.at("deep/er/app.sock");
    let socket = ControlSocket::bind(&path).unwrap();
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(&directory.at("deep/er")), 0o700);
    assert_eq!(mode(&directory.at("deep/er/app.sock.lock")), 0o600);
    drop(socket);
    let left = std::fs::read_dir(directory.at("deep/er")).unwrap().count();
    assert_eq!(left, 0);
}

#[test]
fn a_live_socket_is_refused_and_names_its_process() {
    let directory = Directory::new();
    let path = directory.at("app.sock");
    let first = ControlSocket::bind(&path).unwrap();
    let error = ControlSocket::bind(&path).unwrap_err();
    let pid = std::process::id();
    assert!(matches!(error, SocketError::Live { pid: Some(by), .. } if by == pid));
    assert!(error.to_string().contains(&format!("process {pid}")));
    drop(first);
    ControlSocket::bind(&path).unwrap();
}

#[test]
fn of_many_hosts_at_once_exactly_one_gets_the_socket() {
    const HOSTS: usize = 8;
    let directory = Directory::new();
    let path = directory.at("app.sock");
    for round in 0..50 {
        // As a host that was killed leaves it: a socket, and a lock file nobody has locked.
        if round % 2 == 0 {
            drop(UnixListener::bind(&path).unwrap());
            std::fs::write(directory.at("app.sock.lock"), "1\n").unwrap();
        }
        let barrier = Barrier::new(HOSTS);
        let bound: Vec<bool> = std::thread::scope(|scope| {
            let binding: Vec<_> = (0..HOSTS)
                .map(|_| {
                    scope.spawn(|| {
                        barrier.wait();
                        let bound = ControlSocket::bind(&path);
                        // Nobody gives it back before all have tried.
                        barrier.wait();
                        match bound {
                            Ok(_) => true,
                            Err(SocketError::Live { .. }) => false,
                            Err(other) => panic!("{other}"),
                        }
                    })
                })
                .collect();
            binding.into_iter().map(|one| one.join().unwrap()).collect()
        });
        assert_eq!(bound.iter().filter(|bound| **bound).count(), 1);
        assert!(!path.exists());
    }
}

#[test]
fn a_lock_that_is_given_back_while_others_come_is_never_held_twice() {
    const HOSTS: usize = 4;
    let directory = Directory::new();
    let path = directory.at("app.sock");
    let holders = std::sync::atomic::AtomicU32::new(0);
    std::thread::scope(|scope| {
        for _ in 0..HOSTS {
            scope.spawn(|| {
                for _ in 0..200 {
                    if let Ok(socket) = ControlSocket::bind(&path) {
                        let before = holders.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                        assert_eq!(before, 0);
                        assert!(path.exists());
                        holders.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                        drop(socket);
                    }
                }
            });
        }
    });
}

#[test]
fn what_is_not_ours_is_not_touched() {
    let directory = Directory::new();
    let file = directory.at("file.sock");
    std::fs::write(&file, "precious").unwrap();
    let error = ControlSocket::bind(&file).unwrap_err();
    assert!(matches!(error, SocketError::NotASocket(_)), "{error}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");

    let foreign = directory.at("foreign.sock");
    let listener = UnixListener::bind(&foreign).unwrap();
    let error = ControlSocket::bind(&foreign).unwrap_err();
    assert!(matches!(error, SocketError::Foreign(_)), "{error}");
    assert!(foreign.exists());
    drop(listener);

    // A link where the lock would be leads nowhere.
    let linked = directory.at("linked.sock");
    std::os::unix::fs::symlink(&file, directory.at("linked.sock.lock")).unwrap();
    let error = ControlSocket::bind(&linked).unwrap_err();
    assert!(matches!(error, SocketError::Io { .. }), "{error}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");
}

#[test]
fn only_the_file_that_was_made_is_removed() {
    let directory = Directory::new();
    let path = directory.at("app.sock");
    let socket = ControlSocket::bind(&path).unwrap();
    std::fs::rename(&path, directory.at("moved.sock")).unwrap();
    let _other = UnixListener::bind(&path).unwrap();
    drop(socket);
    assert!(path.exists());
}

#[test]
fn a_path_that_no_socket_can_have_is_refused() {
    let directory = Directory::new();
    let room = SOCKET_PATH_BYTES_MAX - directory.path().as_os_str().len() - 1;
    let longest = directory.at(&"x".repeat(room));
    drop(ControlSocket::bind(&longest).unwrap());
    let error = ControlSocket::bind(&directory.at(&"x".repeat(room + 1))).unwrap_err();
    assert!(matches!(error, SocketError::TooLong { bytes: 108, .. }));
    assert!(error.to_string().contains("107"));
}

#[test]
fn a_directory_must_be_ones_own() {
    let directory = Directory::new();
    let own = SocketDirectory::at(directory.at("own"));
    own.prepare().unwrap();
    assert_eq!(mode(own.path()), 0o700);
    // One that others could read is closed to them.
    std::fs::set_permissions(own.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    own.prepare().unwrap();
    assert_eq!(mode(own.path()), 0o700);
    assert!(own.sockets().unwrap().is_empty());

    std::os::unix::fs::symlink(own.path(), directory.at("link")).unwrap();
    let error = SocketDirectory::at(directory.at("link")).prepare();
    assert!(matches!(error, Err(SocketError::Directory { .. })));
    std::fs::write(directory.at("file"), "").unwrap();
    let error = SocketDirectory::at(directory.at("file")).prepare();
    assert!(matches!(error, Err(SocketError::Directory { .. })));
    let missing = SocketDirectory::at(directory.at("no/such/run"));
    assert!(missing.prepare().is_err());
    assert!(missing.sockets().unwrap().is_empty());
}
