//! A socket's path may be 107 bytes at most (`sockaddr_un`), a state folder may
//! lie deeper. Such a socket is reached through the open folder's descriptor.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

/// Longest path a socket address takes.
const LONGEST: usize = 107;

/// A path to a socket that is short enough, while this lives.
#[derive(Debug)]
pub(super) struct Reach {
    path: PathBuf,
    _folder: Option<File>,
}

impl Reach {
    pub(super) fn new(socket: &Path) -> io::Result<Self> {
        let (Some(folder), Some(name)) = (socket.parent(), socket.file_name()) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        if socket.as_os_str().len() <= LONGEST {
            let path = socket.to_path_buf();
            return Ok(Self {
                path,
                _folder: None,
            });
        }
        let folder = File::open(folder)?;
        let path = Path::new("/proc/self/fd")
            .join(folder.as_raw_fd().to_string())
            .join(name);
        Ok(Self {
            path,
            _folder: Some(folder),
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}
