/// The unit of direct reads and writes: their places in files and in memory are multiples of it.
/// Disks ask for 512 or 4096 bytes.
pub(super) const BLOCK: usize = 4096;

/// Memory that is used again and again. It begins at a [`BLOCK`], for which it has one more.
#[derive(Default)]
pub(super) struct Buffer(Vec<u8>);

impl Buffer {
    /// Its first `len` bytes, whatever they are; it grows where it has to.
    pub fn room(&mut self, len: usize) -> &mut [u8] {
        if self.0.len() < len + BLOCK {
            // Nothing that it holds is needed, and both at once would be more than was planned for.
            self.0 = Vec::new();
            self.0 = vec![0; len + BLOCK];
        }
        let start = self.0.as_ptr().align_offset(BLOCK).min(BLOCK);
        &mut self.0[start..start + len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn begins_at_a_block_whatever_its_size() {
        let mut buffer = Buffer::default();
        for len in [1, 4096, 70_001, 5, 0] {
            let room = buffer.room(len);
            assert_eq!(room.len(), len);
            assert_eq!(room.as_ptr().align_offset(BLOCK), 0, "{len}");
        }
    }
}
