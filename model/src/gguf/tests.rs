//! Files made by the `gguf` package of llama.cpp and by hand, and every kind of damage to them.

use super::*;
use crate::gguf::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// Written by tests/peers/make_gguf.py. The JSON file holds the package's own values of each quantised tensor, as the bits of f32.
const BLOCKS: &[u8] = include_bytes!("blocks.gguf");
const EXPECTED: &str = include_str!("blocks.gguf.json");

/// Reads a file of these bytes, which stay in memory until the tests end.
fn parse(bytes: &[u8]) -> Result<Gguf<'static>> {
    let content = Box::leak(Box::new(Content::of_bytes(Path::new("x.gguf"), bytes.to_vec().leak())));
    let header = Box::leak(Box::new(Header::read(content)?));
    Gguf::new(content, header)
}

#[test]
fn every_type_that_is_read_is_widened_to_the_bits_that_llama_cpp_gives() {
    let expected: BTreeMap<String, Vec<u32>> = serde_json::from_str(EXPECTED).unwrap();
    let file = parse(BLOCKS).unwrap();
    for kind in ["F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1"] {
        let info = file.tensor(kind).unwrap();
        assert_eq!((info.shape.as_slice(), info.kind.name()), (&[3, 64][..], kind));
        let bits: Vec<u32> = file.widen(kind, info).unwrap().into_iter().map(f32::to_bits).collect();
        assert_eq!(bits, expected[kind], "{kind}");
    }
}

#[test]
fn a_type_that_is_not_read_is_named_with_its_tensor() {
    let file = parse(BLOCKS).unwrap();
    let message = file.widen("Q5_0", file.tensor("Q5_0").unwrap()).unwrap_err().to_string();
    assert!(message.contains("x.gguf: the type Q5_0 of tensor Q5_0 is not supported; supported: F32, F16"), "{message}");
    assert_eq!(TensorType::of_number(12).unwrap().name(), "Q4_K");
}

#[test]
fn keys_have_their_values() {
    let file = parse(BLOCKS).unwrap();
    assert_eq!(file.get("general.architecture").and_then(Value::text), Some("llama"));
    assert_eq!(file.get("test.flag").and_then(Value::flag), Some(true));
    assert_eq!(file.get("test.float").and_then(Value::number), Some(0.5));
    let array = |key: &str| file.get(key).unwrap().array().unwrap();
    assert_eq!(array("test.numbers").iter().map(|v| v.number().unwrap()).collect::<Vec<_>>(), [1.0, -2.0, 3.0]);
    assert_eq!(array("test.texts").iter().map(|v| v.text().unwrap()).collect::<Vec<_>>(), ["a", "", "é"]);
}

#[test]
fn no_part_of_a_file_is_a_file() {
    let end = parse(BLOCKS).unwrap().tensors().map(|(_, info)| info.start + info.length).max().unwrap() as usize;
    for length in 0..end {
        assert!(parse(&BLOCKS[..length]).is_err(), "{length} bytes");
    }
}

/// Writes a file by hand: keys as (name, type, bytes), tensors as (name, extents innermost first, type, offset), then `data` bytes of data.
fn file(keys: &[(&str, u32, Vec<u8>)], tensors: &[(&str, &[u64], u32, u64)], data: usize) -> Vec<u8> {
    let text = |text: &str| [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat();
    let mut bytes =
        [MAGIC.as_slice(), &3u32.to_le_bytes(), &(tensors.len() as u64).to_le_bytes(), &(keys.len() as u64).to_le_bytes()].concat();
    for (key, kind, value) in keys {
        bytes.extend([text(key), kind.to_le_bytes().to_vec(), value.clone()].concat());
    }
    for (name, extents, kind, offset) in tensors {
        bytes.extend([text(name), (extents.len() as u32).to_le_bytes().to_vec()].concat());
        extents.iter().for_each(|extent| bytes.extend(extent.to_le_bytes()));
        bytes.extend([kind.to_le_bytes().to_vec(), offset.to_le_bytes().to_vec()].concat());
    }
    bytes.resize(bytes.len().next_multiple_of(32) + data, 0);
    bytes
}

#[track_caller]
fn refused(bytes: &[u8], expected: &str) {
    let message = parse(bytes).unwrap_err().to_string();
    assert!(message.starts_with("x.gguf: ") && message.contains(expected), "{message}");
}

#[test]
fn a_header_longer_than_what_is_read_at_first_is_read_to_its_end() {
    let numbers = vec![7; 3 * Header::FIRST as usize];
    let array = [&0u32.to_le_bytes()[..], &(numbers.len() as u64).to_le_bytes(), &numbers].concat();
    let bytes = file(&[("long", 9, array), ("after", 4, 5u32.to_le_bytes().to_vec())], &[("w", &[2], 0, 0)], 8);
    let read = parse(&bytes).unwrap();
    assert_eq!(read.get("long").unwrap().array().unwrap().len(), numbers.len() as u64);
    assert_eq!(read.get("after").and_then(Value::unsigned), Some(5));
    assert_eq!(read.widen("w", read.tensor("w").unwrap()).unwrap(), [0.0, 0.0]);
    refused(&bytes[..bytes.len() - 1], "lies outside the file");
    refused(&bytes[..2 << 20], "truncated or damaged");
}

#[test]
fn damage_is_reported_not_believed() {
    assert!(parse(&file(&[], &[("w", &[2], 0, 0)], 8)).is_ok());
    refused(&file(&[], &[("w", &[u64::MAX, 8], 0, 0)], 8), "tensor w");
    refused(&file(&[], &[("w", &[1 << 40], 0, 0)], 8), "lies outside the file");
    refused(&file(&[], &[("w", &[2], 0, u64::MAX - 31)], 8), "lies outside the file");
    refused(&file(&[], &[("w", &[0], 0, 0)], 8), "extent of zero");
    refused(&file(&[], &[("w", &[2], 99, 0)], 8), "unknown type 99");
    refused(&file(&[], &[("w", &[2], 8, 0)], 8), "is no shape of type Q8_0");
    refused(&file(&[], &[("w", &[2], 0, 4)], 12), "multiple of the alignment");
    refused(&file(&[], &[("w", &[2], 0, 0), ("w", &[2], 0, 32)], 64), "tensor w is there twice");
    refused(&file(&[], &[("v", &[16], 0, 0), ("w", &[2], 0, 32)], 64), "tensors v and w overlap");
    refused(&file(&[], &[("w", &[1, 1, 1, 1, 1], 0, 0)], 8), "5 axes");
    let zero = 0u32.to_le_bytes().to_vec();
    refused(&file(&[("general.alignment", 4, zero.clone())], &[], 0), "alignment");
    refused(&file(&[("k", 4, zero.clone()), ("k", 4, zero)], &[], 0), "key k is there twice");
    refused(&file(&[("k", 77, vec![0; 8])], &[], 0), "key k: has the unknown type 77");
    refused(&file(&[("k", 7, vec![2])], &[], 0), "neither true nor false");
    refused(&file(&[("k", 8, u64::MAX.to_le_bytes().to_vec())], &[], 0), "truncated or damaged");
    let array = |kind: u32, length: u64| [kind.to_le_bytes().to_vec(), length.to_le_bytes().to_vec()].concat();
    refused(&file(&[("k", 9, array(0, u64::MAX))], &[], 0), "values are announced");
    refused(&file(&[("k", 9, array(8, 1 << 60))], &[], 0), "values are announced");
    refused(&file(&[("k", 9, array(9, 1).repeat(9))], &[], 0), "deep in each other");
}

#[test]
fn a_header_of_huge_counts_or_another_version_is_refused() {
    let with = |at: usize, bytes: &[u8]| {
        let mut file = file(&[], &[("w", &[2], 0, 0)], 8);
        file[at..at + bytes.len()].copy_from_slice(bytes);
        file
    };
    refused(&with(8, &u64::MAX.to_le_bytes()), "tensors are announced");
    refused(&with(16, &u64::MAX.to_le_bytes()), "keys are announced");
    refused(&with(4, &1u32.to_le_bytes()), "version 1");
    refused(&with(4, &3u32.to_be_bytes()), "big-endian");
    refused(&with(0, b"GGML"), "does not start with GGUF");
}

#[test]
fn a_weight_that_is_not_finite_is_named() {
    let mut bytes = file(&[], &[("w", &[2], 0, 0)], 8);
    let at = bytes.len() - 4;
    bytes[at..].copy_from_slice(&f32::INFINITY.to_le_bytes());
    let file = parse(&bytes).unwrap();
    let message = file.widen("w", file.tensor("w").unwrap()).unwrap_err().to_string();
    assert!(message.contains("tensor w has inf at element 1"), "{message}");
}
