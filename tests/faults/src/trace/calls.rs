//! The table of system calls that concern files.

/// A system call.
#[derive(Debug)]
pub struct Syscall {
    /// Its name in the manual.
    pub name: &'static str,
    pub(super) number: i64,
    /// What it does.
    pub kind: Kind,
    pub(super) names: Names,
    /// The argument that says how many bytes it moves.
    pub(super) length: Option<usize>,
}

/// What a call does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Opens a file, and perhaps creates it.
    Open,
    /// Closes a file.
    Close,
    /// Reads bytes.
    Read,
    /// Writes bytes.
    Write,
    /// Moves bytes from the first file to the second.
    Copy,
    /// Makes a file or a directory durable.
    Sync,
    /// Changes a file's length.
    Resize,
    /// Gives something another name.
    Rename,
    /// Gives something a further name.
    Link,
    /// Makes a directory or a symbolic link.
    Make,
    /// Takes a name away.
    Remove,
    /// Lists a directory.
    List,
    /// Looks at a file, a link or a file system.
    Look,
    /// Takes or gives back a lock.
    Lock,
    /// Tells the kernel something that it may ignore, or asks for something that it may not have.
    Advise,
    /// Maps a file into memory.
    Map,
    /// Changes modes or times.
    Change,
}

/// Where a call names files. Numbers are those of arguments.
#[derive(Clone, Copy, Debug)]
pub(super) enum Names {
    /// By a descriptor.
    Fd(usize),
    /// By two descriptors.
    Fds(usize, usize),
    /// By a path.
    Path(usize),
    /// By two paths.
    Paths(usize, usize),
    /// By a path that begins at a directory's descriptor.
    At(usize, usize),
    /// By two such paths.
    Ats([usize; 2], [usize; 2]),
}

impl Names {
    /// The argument that is the descriptor of the file, if it is the only one.
    pub(super) fn descriptor(self) -> Option<usize> {
        match self {
            Names::Fd(argument) => Some(argument),
            _ => None,
        }
    }
}

/// Every call of the table.
pub(super) fn all() -> impl Iterator<Item = &'static Syscall> {
    TABLE.iter().chain(OLD)
}

/// The call of this number.
pub(super) fn find(number: u64) -> Option<&'static Syscall> {
    all().find(|call| call.number as u64 == number)
}

macro_rules! table {
    ($($name:literal $number:ident $kind:ident $names:expr $(, $length:literal)?;)*) => {
        &[$(Syscall {
            name: $name,
            number: libc::$number,
            kind: Kind::$kind,
            names: { use Names::*; $names },
            length: table!(@ $($length)?),
        }),*]
    };
    (@) => { None };
    (@ $length:literal) => { Some($length) };
}

const TABLE: &[Syscall] = table! {
    "read" SYS_read Read Fd(0), 2;
    "pread64" SYS_pread64 Read Fd(0), 2;
    "readv" SYS_readv Read Fd(0);
    "preadv" SYS_preadv Read Fd(0);
    "preadv2" SYS_preadv2 Read Fd(0);
    "write" SYS_write Write Fd(0), 2;
    "pwrite64" SYS_pwrite64 Write Fd(0), 2;
    "writev" SYS_writev Write Fd(0);
    "pwritev" SYS_pwritev Write Fd(0);
    "pwritev2" SYS_pwritev2 Write Fd(0);
    "copy_file_range" SYS_copy_file_range Copy Fds(0, 2), 4;
    "sendfile" SYS_sendfile Copy Fds(1, 0), 3;
    "splice" SYS_splice Copy Fds(0, 2), 4;
    "openat" SYS_openat Open At(0, 1);
    "close" SYS_close Close Fd(0);
    "fsync" SYS_fsync Sync Fd(0);
    "fdatasync" SYS_fdatasync Sync Fd(0);
    "ftruncate" SYS_ftruncate Resize Fd(0);
    "truncate" SYS_truncate Resize Path(0);
    "fallocate" SYS_fallocate Resize Fd(0);
    "renameat" SYS_renameat Rename Ats([0, 1], [2, 3]);
    "renameat2" SYS_renameat2 Rename Ats([0, 1], [2, 3]);
    "linkat" SYS_linkat Link Ats([0, 1], [2, 3]);
    "symlinkat" SYS_symlinkat Make At(1, 2);
    "mkdirat" SYS_mkdirat Make At(0, 1);
    "unlinkat" SYS_unlinkat Remove At(0, 1);
    "getdents64" SYS_getdents64 List Fd(0);
    "newfstatat" SYS_newfstatat Look At(0, 1);
    "statx" SYS_statx Look At(0, 1);
    "fstat" SYS_fstat Look Fd(0);
    "faccessat" SYS_faccessat Look At(0, 1);
    "faccessat2" SYS_faccessat2 Look At(0, 1);
    "readlinkat" SYS_readlinkat Look At(0, 1);
    "lseek" SYS_lseek Look Fd(0);
    "statfs" SYS_statfs Look Path(0);
    "fstatfs" SYS_fstatfs Look Fd(0);
    "flock" SYS_flock Lock Fd(0);
    "fadvise64" SYS_fadvise64 Advise Fd(0);
    "sync_file_range" SYS_sync_file_range Advise Fd(0);
    "ioctl" SYS_ioctl Advise Fd(0);
    "mmap" SYS_mmap Map Fd(4);
    "fchmod" SYS_fchmod Change Fd(0);
    "fchmodat" SYS_fchmodat Change At(0, 1);
    "utimensat" SYS_utimensat Change At(0, 1);
};

/// Calls that younger architectures leave to those with `at` in their names.
#[cfg(target_arch = "x86_64")]
const OLD: &[Syscall] = table! {
    "open" SYS_open Open Path(0);
    "creat" SYS_creat Open Path(0);
    "rename" SYS_rename Rename Paths(0, 1);
    "link" SYS_link Link Paths(0, 1);
    "symlink" SYS_symlink Make Path(1);
    "mkdir" SYS_mkdir Make Path(0);
    "unlink" SYS_unlink Remove Path(0);
    "rmdir" SYS_rmdir Remove Path(0);
    "stat" SYS_stat Look Path(0);
    "lstat" SYS_lstat Look Path(0);
    "access" SYS_access Look Path(0);
    "readlink" SYS_readlink Look Path(0);
    "chmod" SYS_chmod Change Path(0);
};

#[cfg(not(target_arch = "x86_64"))]
const OLD: &[Syscall] = &[];
