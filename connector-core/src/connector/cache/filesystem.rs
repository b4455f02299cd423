//! Which file systems keep a ctime that says whether a file changed.

use std::fs::File;
use std::io;

/// Whether the kernel itself sets the ctimes of the file system in which a file lies, at each change.
///
/// Those of others come from a daemon (FUSE, 9p, SMB, the shared folders of virtual machines), from
/// whoever made an image (squashfs, erofs, ISO 9660, cramfs), or are none at all (FAT). Of an
/// overlay they are those of the layer that a file happens to lie in. What is not known is not
/// trusted.
pub(super) fn keeps_ctime(file: &File) -> io::Result<bool> {
    kind::is_trusted(file)
}

#[cfg(any(target_os = "linux", target_os = "android"))]
mod kind {
    use super::*;

    /// The numbers of `statfs(2)`, which have 32 bits.
    const TRUSTED: [(u32, &str); 9] = [
        (0xEF53, "ext2, ext3, ext4"),
        (0x5846_5342, "xfs"),
        (0x9123_683E, "btrfs"),
        (0xF2F5_2010, "f2fs"),
        (0x2FC1_2FC1, "zfs"),
        (0xCA45_1A4E, "bcachefs"),
        (0x0102_1994, "tmpfs"),
        (0x8584_58F6, "ramfs"),
        // The server's own, which it sets at each change.
        (0x6969, "nfs"),
    ];

    pub(super) fn is_trusted(file: &File) -> io::Result<bool> {
        Ok(is_trusted_kind(rustix::fs::fstatfs(file)?.f_type as u32))
    }

    fn is_trusted_kind(number: u32) -> bool {
        TRUSTED.iter().any(|(trusted, _)| *trusted == number)
    }

    #[cfg(test)]
    #[test]
    fn a_daemons_or_an_images_times_are_not_trusted() {
        for number in [0xEF53, 0x0102_1994, 0x9123_683E] {
            assert!(is_trusted_kind(number), "{number:#x}");
        }
        // FUSE, 9p, SMB, FAT, squashfs, overlay, and one that is none.
        let others =
            [0x6573_5546, 0x0102_1997, 0xFE53_4D42, 0x4D44, 0x7371_7368, 0x794C_7630, 0xEF54];
        for number in others {
            assert!(!is_trusted_kind(number), "{number:#x}");
        }
        assert!(!is_trusted(&File::open("/proc/self/status").unwrap()).unwrap());
    }
}

#[cfg(target_vendor = "apple")]
mod kind {
    use super::*;

    pub(super) fn is_trusted(file: &File) -> io::Result<bool> {
        let name = rustix::fs::fstatfs(file)?.f_fstypename;
        let name = name.iter().map(|&byte| byte as u8).take_while(|&byte| byte != 0);
        Ok(name.eq(*b"apfs"))
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
mod kind {
    use super::*;

    pub(super) fn is_trusted(_file: &File) -> io::Result<bool> {
        Ok(false)
    }
}
