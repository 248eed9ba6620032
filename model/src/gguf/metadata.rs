//! The keys of a GGUF file and their values.

use super::cursor::{Cursor, Damage};
use indexmap::IndexMap;

/// A value of a key.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// Any unsigned integer.
    Unsigned(u64),
    /// Any signed integer.
    Signed(i64),
    /// f32 or f64.
    Float(f64),
    /// True or false.
    Bool(bool),
    /// UTF-8 text.
    String(&'a str),
    /// Several values of one type.
    Array(Array<'a>),
}

impl<'a> Value<'a> {
    /// Returns an integer that is not negative.
    pub fn unsigned(&self) -> Option<u64> {
        match *self {
            Self::Unsigned(number) => Some(number),
            Self::Signed(number) => number.try_into().ok(),
            _ => None,
        }
    }

    /// Returns any number as an f64.
    pub fn number(&self) -> Option<f64> {
        match *self {
            Self::Unsigned(number) => Some(number as f64),
            Self::Signed(number) => Some(number as f64),
            Self::Float(number) => Some(number),
            _ => None,
        }
    }

    /// Returns true or false.
    pub fn flag(&self) -> Option<bool> {
        match *self {
            Self::Bool(flag) => Some(flag),
            _ => None,
        }
    }

    /// Returns a text.
    pub fn text(&self) -> Option<&'a str> {
        match *self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// Returns an array.
    pub fn array(&self) -> Option<Array<'a>> {
        match *self {
            Self::Array(array) => Some(array),
            _ => None,
        }
    }
}

/// An array in the bytes of the file. Its values are read on demand.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Array<'a> {
    kind: u32,
    length: u64,
    bytes: &'a [u8],
}

impl<'a> Array<'a> {
    /// Returns the number of values.
    pub fn len(&self) -> u64 {
        self.length
    }

    /// True if there are no values.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Iterates over the values in order.
    pub fn iter(&self) -> impl Iterator<Item = Value<'a>> + use<'a> {
        let (kind, mut cursor) = (self.kind, Cursor::new(self.bytes, self.bytes.len() as u64));
        // The bytes were walked once when the file was read, so none of these reads can fail.
        (0..self.length).map_while(move |_| value(&mut cursor, kind, 0).ok())
    }
}

/// The most levels of arrays within arrays. The format has no limit, but no known file needs more than two.
const DEEPEST: u32 = 4;
const STRING: u32 = 8;
const ARRAY: u32 = 9;

/// Reads `count` keys.
pub fn read<'a>(cursor: &mut Cursor<'a>, count: u64) -> Result<IndexMap<&'a str, Value<'a>>, Damage> {
    // A key has at least the length of its name, its type and one byte.
    cursor.check_count("keys", count, 8 + 4 + 1)?;
    let mut metadata = IndexMap::new();
    for _ in 0..count {
        let key = cursor.string()?;
        let kind = cursor.u32()?;
        let value = value(cursor, kind, 0).map_err(|damage| damage.within(&format!("key {key}")))?;
        if metadata.insert(key, value).is_some() {
            return Err(Damage::Wrong(format!("key {key} is there twice")));
        }
    }
    Ok(metadata)
}

fn value<'a>(cursor: &mut Cursor<'a>, kind: u32, depth: u32) -> Result<Value<'a>, Damage> {
    let fixed = |bytes: &[u8]| {
        let mut wide = [0; 8];
        wide[..bytes.len()].copy_from_slice(bytes);
        u64::from_le_bytes(wide)
    };
    Ok(match kind {
        0 | 2 | 4 | 10 => Value::Unsigned(fixed(cursor.take(size(kind))?)),
        1 => Value::Signed(i64::from(fixed(cursor.take(1)?) as u8 as i8)),
        3 => Value::Signed(i64::from(fixed(cursor.take(2)?) as u16 as i16)),
        5 => Value::Signed(i64::from(cursor.u32()? as i32)),
        11 => Value::Signed(cursor.u64()? as i64),
        6 => Value::Float(f64::from(f32::from_bits(cursor.u32()?))),
        12 => Value::Float(f64::from_bits(cursor.u64()?)),
        7 => match cursor.take(1)?[0] {
            0 => Value::Bool(false),
            1 => Value::Bool(true),
            other => return Err(Damage::Wrong(format!("{other} is neither true nor false"))),
        },
        STRING => Value::String(cursor.string()?),
        ARRAY => Value::Array(array(cursor, depth)?),
        other => return Err(Damage::Wrong(format!("has the unknown type {other}"))),
    })
}

fn array<'a>(cursor: &mut Cursor<'a>, depth: u32) -> Result<Array<'a>, Damage> {
    if depth >= DEEPEST {
        return Err(Damage::Wrong(format!("arrays lie more than {DEEPEST} deep in each other")));
    }
    let (kind, length) = (cursor.u32()?, cursor.u64()?);
    let smallest = match kind {
        STRING => 8,
        ARRAY => 12,
        kind => size(kind) as u64,
    };
    if smallest == 0 {
        return Err(Damage::Wrong(format!("has the unknown type {kind}")));
    }
    cursor.check_count("values", length, smallest)?;
    // A second cursor runs ahead to find the end of the array's bytes.
    let mut ahead = cursor.fork();
    match kind {
        STRING | ARRAY | 7 => (0..length).try_for_each(|_| value(&mut ahead, kind, depth + 1).map(drop))?,
        _ => drop(ahead.take(length as usize * smallest as usize)?),
    }
    let bytes = cursor.take(ahead.position() - cursor.position())?;
    Ok(Array { kind, length, bytes })
}

/// Returns the bytes of a number's type, or 0 for any other type.
fn size(kind: u32) -> usize {
    match kind {
        0 | 1 | 7 => 1,
        2 | 3 => 2,
        4..=6 => 4,
        10..=12 => 8,
        _ => 0,
    }
}
