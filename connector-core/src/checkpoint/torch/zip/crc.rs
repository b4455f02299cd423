//! CRC-32 as zip has it: polynomial 0xEDB88320 in reversed bits, begun with and ended by inversion.

const POLYNOMIAL: u32 = 0xedb8_8320;

/// Eight tables, to take eight bytes at a time ("slicing by 8"): `TABLES[k][b]` is the CRC of the
/// byte `b` followed by `k` zeros.
static TABLES: [[u32; 256]; 8] = tables();

const fn tables() -> [[u32; 256]; 8] {
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ POLYNOMIAL } else { crc >> 1 };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut k = 1;
    while k < 8 {
        let mut byte = 0;
        while byte < 256 {
            let before = tables[k - 1][byte];
            tables[k][byte] = before >> 8 ^ tables[0][(before & 0xff) as usize];
            byte += 1;
        }
        k += 1;
    }
    tables
}

/// A CRC in the making.
#[derive(Clone, Copy, Debug)]
pub(in crate::checkpoint) struct Crc(u32);

impl Crc {
    pub fn new() -> Self {
        Crc(!0)
    }

    pub fn update(&mut self, bytes: &[u8]) {
        let mut crc = self.0;
        let (eights, rest) = bytes.as_chunks::<8>();
        for eight in eights {
            let [a, b, c, d, e, f, g, h] = *eight;
            let low = crc ^ u32::from_le_bytes([a, b, c, d]);
            crc = TABLES[7][(low & 0xff) as usize]
                ^ TABLES[6][(low >> 8 & 0xff) as usize]
                ^ TABLES[5][(low >> 16 & 0xff) as usize]
                ^ TABLES[4][(low >> 24) as usize]
                ^ TABLES[3][e as usize]
                ^ TABLES[2][f as usize]
                ^ TABLES[1][g as usize]
                ^ TABLES[0][h as usize];
        }
        for &byte in rest {
            crc = crc >> 8 ^ TABLES[0][((crc ^ u32::from(byte)) & 0xff) as usize];
        }
        self.0 = crc;
    }

    pub fn finish(self) -> u32 {
        !self.0
    }
}

/// The CRC of `bytes`.
pub(in crate::checkpoint) fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_values() {
        assert_eq!(crc32(b""), 0);
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(crc32(&[0; 32]), 0x190a_55ad);
    }

    proptest! {
        #[test]
        fn eight_at_a_time_is_one_at_a_time(
            bytes in proptest::collection::vec(any::<u8>(), 0..100),
            cut in 0usize..100,
        ) {
            let cut = cut.min(bytes.len());
            let mut crc = Crc::new();
            crc.update(&bytes[..cut]);
            bytes[cut..].iter().for_each(|&byte| crc.update(&[byte]));
            prop_assert_eq!(crc.finish(), crc32(&bytes));
        }
    }
}
