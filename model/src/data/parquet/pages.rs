//! The sizes that the pages of a Parquet file announce, read from their headers alone. Nothing is decompressed.
//!
//! Headers are structs of Thrift's compact protocol: fields with a number and a type, up to a zero byte. Only the fields that are needed
//! are kept. The rest is skipped by its type.

/// The deepest nesting of Thrift structs and lists that is read. Headers and footers have four levels.
const DEEPEST: usize = 16;

/// A page's header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Bytes after decompression.
    pub uncompressed: u64,
    /// Bytes in the file.
    pub compressed: u64,
    /// The number of values, nulls included. 0 for a dictionary.
    pub values: u64,
    /// The encoding of the values: a number of the format.
    pub encoding: u64,
}

/// Returns the pages of a column chunk, up to the one with its last value. Returns `None` if a header cannot be read.
pub fn pages(mut chunk: &[u8], values: u64) -> Option<Vec<Page>> {
    let (mut pages, mut seen) = (Vec::new(), 0_u64);
    while seen < values && !chunk.is_empty() {
        let mut thrift = Thrift { rest: chunk };
        let page = page(&mut thrift)?;
        chunk = thrift.rest.get(usize::try_from(page.compressed).ok()?..)?;
        seen = seen.saturating_add(page.values);
        pages.push(page);
    }
    Some(pages)
}

fn page(thrift: &mut Thrift) -> Option<Page> {
    let mut page = Page::default();
    thrift.each_field(0, |thrift, id, kind| {
        match (id, kind) {
            (2, INTEGER) => page.uncompressed = thrift.size()?,
            (3, INTEGER) => page.compressed = thrift.size()?,
            // The header of a data page, of version 1 or 2. Field 1 is the number of values, field 2 or 4 the encoding.
            (5 | 8, STRUCT) => thrift.each_field(1, |thrift, inner, kind| {
                match (id, inner, kind) {
                    (_, 1, INTEGER) => page.values = thrift.size()?,
                    (5, 2, INTEGER) | (8, 4, INTEGER) => page.encoding = thrift.size()?,
                    _ => thrift.pass(kind, 2)?,
                }
                Some(())
            })?,
            _ => thrift.pass(kind, 1)?,
        }
        Some(())
    })?;
    Some(page)
}

/// Returns how deep the schema in a file's footer is nested. Returns `None` if the footer cannot be read.
pub fn schema_depth(file: &[u8]) -> Option<usize> {
    let (before, tail) = file.split_last_chunk::<8>()?;
    let length = u32::from_le_bytes(std::array::from_fn(|index| tail[index])) as usize;
    let mut thrift = Thrift { rest: &before[before.len().checked_sub(length)?..] };
    let mut deepest = 0;
    // Parents come before their children. For each open element, this is the number of its children that are still to come.
    let mut open: Vec<u64> = Vec::new();
    thrift.each_field(0, |thrift, id, kind| {
        if (id, kind) != (2, LIST) {
            return thrift.pass(kind, 1);
        }
        let (count, kind) = thrift.list_header()?;
        for _ in 0..count {
            let mut children = 0;
            if kind != STRUCT {
                return None;
            }
            thrift.each_field(1, |thrift, id, kind| {
                if (id, kind) == (5, INTEGER) {
                    children = thrift.size()?;
                    return Some(());
                }
                thrift.pass(kind, 2)
            })?;
            while open.last() == Some(&0) {
                open.pop();
            }
            open.last_mut().into_iter().for_each(|left| *left -= 1);
            if children > 0 {
                open.push(children);
            }
            deepest = deepest.max(open.len());
        }
        Some(())
    })?;
    Some(deepest)
}

const INTEGER: u8 = 5;
const LIST: u8 = 9;
const STRUCT: u8 = 12;

/// A reader of Thrift's compact protocol. Every method returns `None` if the bytes are not valid.
struct Thrift<'a> {
    rest: &'a [u8],
}

impl Thrift<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn skip(&mut self, count: u64) -> Option<()> {
        self.rest = self.rest.get(usize::try_from(count).ok()?..)?;
        Some(())
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn integer(&mut self) -> Option<i64> {
        let value = self.varint()?;
        Some((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// Reads an integer that is a size, and so not negative.
    fn size(&mut self) -> Option<u64> {
        self.integer()?.try_into().ok()
    }

    /// Reads the number and the type of a list's elements.
    fn list_header(&mut self) -> Option<(u64, u8)> {
        let header = self.byte()?;
        let count = if header >> 4 == 15 { self.varint()? } else { u64::from(header >> 4) };
        Some((count, header & 15))
    }

    /// Reads a struct. `field` reads the value of each field, given its number and type.
    fn each_field(&mut self, depth: usize, mut field: impl FnMut(&mut Self, i64, u8) -> Option<()>) -> Option<()> {
        if depth > DEEPEST {
            return None;
        }
        let mut id = 0_i64;
        loop {
            let header = self.byte()?;
            if header == 0 {
                return Some(());
            }
            id = if header >> 4 == 0 { self.integer()? } else { id.checked_add(i64::from(header >> 4))? };
            field(self, id, header & 15)?;
        }
    }

    /// Skips a value of a type.
    fn pass(&mut self, kind: u8, depth: usize) -> Option<()> {
        match kind {
            // The value of a boolean field is part of its type.
            1 | 2 => Some(()),
            3 => self.skip(1),
            4..=6 => self.varint().map(drop),
            7 => self.skip(8),
            8 => {
                let length = self.varint()?;
                self.skip(length)
            }
            LIST | 10 => {
                let (count, kind) = self.list_header()?;
                (0..count).try_for_each(|_| self.pass_element(kind, depth))
            }
            11 => {
                let count = self.varint()?;
                let kinds = if count == 0 { 0 } else { self.byte()? };
                (0..count).try_for_each(|_| {
                    self.pass_element(kinds >> 4, depth)?;
                    self.pass_element(kinds & 15, depth)
                })
            }
            STRUCT => self.each_field(depth + 1, |thrift, _, kind| thrift.pass(kind, depth + 1)),
            13 => self.skip(16),
            _ => None,
        }
    }

    fn pass_element(&mut self, kind: u8, depth: usize) -> Option<()> {
        match kind {
            1 | 2 => self.skip(1),
            _ if depth > DEEPEST => None,
            kind => self.pass(kind, depth + 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes the header of a data page: its type, its sizes, and the inner struct with its values and encoding. `more` goes before the
    /// end.
    fn header(uncompressed: u8, compressed: u8, values: u8, more: &[u8]) -> Vec<u8> {
        let inner = [0x15, 2 * values, 0x15, 16, 0x15, 6, 0x15, 6, 0];
        [&[0x15, 0, 0x15, 2 * uncompressed, 0x15, 2 * compressed, 0x2c], &inner[..], more, &[0]].concat()
    }

    #[test]
    fn pages_are_walked_by_their_headers_whatever_else_these_hold() {
        // Field 9, a struct with a list of binaries, a map, a double, booleans and a nested struct.
        let more = [0x4c, 0x19, 0x28, 1, b'a', 0, 0x1b, 1, 0x58, 2, 1, b'z', 0x17, 0, 0, 0, 0, 0, 0, 0, 0, 0x11, 0x12, 0x1c, 0x15, 2, 0, 0];
        let chunk = [header(60, 3, 7, &[]), vec![9; 3], header(5, 5, 1, &more), vec![9; 5]].concat();
        let page = |uncompressed, compressed, values| Page { uncompressed, compressed, values, encoding: 8 };
        assert_eq!(pages(&chunk, 8), Some(vec![page(60, 3, 7), page(5, 5, 1)]));
        // Cut anywhere, the chunk gives an error or a single page.
        for length in 1..chunk.len() {
            assert!(pages(&chunk[..length], 8).is_none_or(|pages| pages.len() < 2), "{length}");
        }
        assert_eq!(pages(&[0x15, 0, 0x15, 1, 0x15, 0, 0], 1), None, "a negative size");
        assert_eq!(pages(&[0x1c; 100_000], 1), None, "structs in structs");
        assert_eq!(pages(&[&[0x19, 0xf9], &[0xff; 9][..], &[0x19; 1000]].concat(), 1), None, "lists in lists");
    }

    #[test]
    fn a_schema_is_as_deep_as_its_longest_branch() {
        let element = |children: u8| if children == 0 { vec![0x48, 1, b'x', 0] } else { vec![0x48, 1, b'x', 0x15, 2 * children, 0] };
        let file = |elements: &[u8]| {
            let list: Vec<u8> = elements.iter().flat_map(|children| element(*children)).collect();
            let footer = [&[0x15, 2, 0x19, (elements.len() as u8) << 4 | 12], &list[..], &[0]].concat();
            [b"PAR1", &footer[..], &(footer.len() as u32).to_le_bytes(), b"PAR1"].concat()
        };
        assert_eq!(schema_depth(&file(&[0])), Some(0));
        assert_eq!(schema_depth(&file(&[2, 0, 0])), Some(1));
        assert_eq!(schema_depth(&file(&[3, 0, 1, 1, 0, 1, 0])), Some(3));
        assert_eq!(schema_depth(&file(&[1; 14])), Some(14));
        assert_eq!(schema_depth(b"PAR1"), None);
    }
}
