//! Numbers that processes exchange, in the precision in which they are computed.

use engine::Scalar;
use std::any::Any;

/// A list of numbers of one type.
#[derive(Clone, Debug, PartialEq)]
pub enum Numbers {
    /// In single precision.
    F32(Vec<f32>),
    /// In double precision.
    F64(Vec<f64>),
}

impl Numbers {
    /// Makes numbers from a backend's elements.
    ///
    /// # Panics
    /// If they are neither f32 nor f64. Dual numbers are not used in training.
    pub fn of<S: Scalar>(elements: Vec<S>) -> Self {
        let elements: Box<dyn Any> = Box::new(elements);
        match elements.downcast::<Vec<f32>>() {
            Ok(elements) => Self::F32(*elements),
            Err(elements) => Self::F64(*elements.downcast().unwrap_or_else(|_| panic!("processes exchange f32 or f64"))),
        }
    }

    /// Returns the elements as those of a backend.
    ///
    /// # Panics
    /// If they are of another type.
    pub fn into_elements<S: Scalar>(self) -> Vec<S> {
        let elements: Box<dyn Any> = match self {
            Self::F32(elements) => Box::new(elements),
            Self::F64(elements) => Box::new(elements),
        };
        *elements.downcast().unwrap_or_else(|_| panic!("numbers of another precision"))
    }

    /// Returns the number of elements.
    pub fn len(&self) -> usize {
        match self {
            Self::F32(elements) => elements.len(),
            Self::F64(elements) => elements.len(),
        }
    }

    /// Returns the number of bytes of [`Numbers::to_bytes`].
    pub fn byte_len(&self) -> usize {
        match self {
            Self::F32(elements) => size_of_val(elements.as_slice()),
            Self::F64(elements) => size_of_val(elements.as_slice()),
        }
    }

    /// True if there are no numbers.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the numbers as bytes, lowest byte first.
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::F32(elements) => elements.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Self::F64(elements) => elements.iter().flat_map(|x| x.to_le_bytes()).collect(),
        }
    }

    /// Replaces the numbers by those that [`Numbers::to_bytes`] wrote. Returns false if the bytes do not hold as many numbers of the same
    /// type.
    #[must_use]
    pub fn read(&mut self, bytes: &[u8]) -> bool {
        self.merge(bytes, |x, new| *x = new, |x, new| *x = new)
    }

    /// Adds the numbers that [`Numbers::to_bytes`] wrote. Returns false if the bytes do not hold as many numbers of the same type.
    #[must_use]
    pub fn add(&mut self, bytes: &[u8]) -> bool {
        self.merge(bytes, |x, new| *x += new, |x, new| *x += new)
    }

    fn merge(&mut self, bytes: &[u8], single: impl Fn(&mut f32, f32), double: impl Fn(&mut f64, f64)) -> bool {
        match self {
            Self::F32(elements) => {
                let (chunks, rest) = bytes.as_chunks::<4>();
                elements.iter_mut().zip(chunks).for_each(|(x, chunk)| single(x, f32::from_le_bytes(*chunk)));
                rest.is_empty() && chunks.len() == elements.len()
            }
            Self::F64(elements) => {
                let (chunks, rest) = bytes.as_chunks::<8>();
                elements.iter_mut().zip(chunks).for_each(|(x, chunk)| double(x, f64::from_le_bytes(*chunk)));
                rest.is_empty() && chunks.len() == elements.len()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_go_through_bytes_and_add_up_in_their_own_precision() {
        let mut single = Numbers::of(vec![1.0f32, -0.0, f32::INFINITY]);
        let bytes = single.to_bytes();
        assert!(single.add(&Numbers::of(vec![3e-8f32, 1.0, 1.0]).to_bytes()));
        assert_eq!(single, Numbers::F32(vec![1.0, 1.0, f32::INFINITY]), "1 + 3e-8 is 1 in f32");
        assert!(single.read(&bytes));
        assert_eq!(single.into_elements::<f32>()[1].to_bits(), (-0.0f32).to_bits());
        let mut double = Numbers::of(vec![1.0f64]);
        assert!(double.add(&3e-8f64.to_le_bytes()) && double == Numbers::F64(vec![1.0 + 3e-8]));
        assert!(!double.add(&[0; 16]) && !double.read(&[0; 7]));
    }
}
