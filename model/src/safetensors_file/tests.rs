//! Real files read and written, every element type, and every kind of damage.

use super::*;
use crate::test_data::shared;

fn file(header: &str, data: &[u8]) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    bytes
}

fn read_file(bytes: &[u8]) -> Result<NamedTensors> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.safetensors");
    std::fs::write(&path, bytes).unwrap();
    read(&path)
}

fn one(dtype: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let header = format!(r#"{{"w":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[0,{}]}}}}"#, data.len());
    file(&header, data)
}

#[test]
fn a_real_model_is_written_as_it_was_read() {
    let Some(path) = shared("data/stories260k/hf/model.safetensors") else { return };
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join(SINGLE_FILE);
    let tensors = read(&path).unwrap();
    assert_eq!(tensors["model.embed_tokens.weight"].shape, [512, 64]);
    write(&copy, &tensors).unwrap();
    assert_eq!(read(&copy).unwrap(), tensors);
    assert_eq!(std::fs::read(&copy).unwrap(), std::fs::read(&path).unwrap());
}

#[test]
fn every_floating_type_is_widened_exactly() {
    let values = [-1.5f32, 0.0, 3.140625, 65504.0];
    let halves = [0xbe00u16, 0x0000, 0x4248, 0x7bff].map(u16::to_le_bytes).concat();
    let brains = values.map(|v| ((v.to_bits() >> 16) as u16).to_le_bytes()).concat();
    let read_one = |dtype, bytes: &[u8]| read_file(&one(dtype, "[2,2]", bytes)).unwrap()["w"].clone();
    assert_eq!(read_one("F32", &values.map(f32::to_le_bytes).concat()).data, values);
    assert_eq!(read_one("F64", &values.map(|v| f64::from(v).to_le_bytes()).concat()).data, values);
    let half = read_one("F16", &halves);
    assert_eq!((half.data, half.dtype), (values.to_vec(), Dtype::F16));
    assert_eq!(read_one("BF16", &brains).data[..3], values[..3]);
}

#[test]
fn tensors_of_both_floating_types_are_written_as_they_are_in_the_order_given() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.safetensors");
    let (pi, third) = (std::f64::consts::PI, 1.0 / 3.0);
    let tensors = [
        ("z".to_owned(), RawTensor::of_f64(Dtype::F64, &[], &[pi])),
        ("a".to_owned(), RawTensor::of_f64(Dtype::F32, &[2, 1], &[third, f64::NAN])),
    ];
    write_raw(&path, &tensors.clone().into_iter().collect()).unwrap();
    let read = read_raw(&path).unwrap();
    assert_eq!(read.clone().into_iter().collect::<Vec<_>>(), tensors);
    assert_eq!((read["z"].to_f64().unwrap(), read["a"].to_f32().unwrap()[0]), (vec![pi], third as f32));
}

#[test]
fn buffers_that_are_no_weights_are_left_out_of_the_weights_but_can_be_read() {
    let data = [7i64, -1].map(i64::to_le_bytes).concat();
    for name in ["h.0.attn.bias", "gpt_neox.layers.1.attention.masked_bias", "embeddings.position_ids"] {
        let header = format!(r#"{{"{name}":{{"dtype":"I64","shape":[2],"data_offsets":[0,16]}}}}"#);
        let bytes = file(&header, &data);
        assert!(read_file(&bytes).unwrap().is_empty());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.safetensors");
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(read_raw(&path).unwrap()[name].to_i64().unwrap(), [7, -1]);
        // An index may name buffers too.
        std::fs::write(folder.path().join(INDEX_FILE), format!(r#"{{"weight_map":{{"{name}":"x.safetensors"}}}}"#)).unwrap();
        assert!(read_folder(folder.path()).unwrap().is_empty());
    }
}

#[test]
fn a_weight_of_a_type_that_is_not_read_is_named_with_its_type() {
    for (dtype, bytes) in [("F8_E4M3", 2), ("F8_E5M2", 2), ("I8", 2), ("U8", 2), ("I32", 8), ("I64", 16), ("BOOL", 2)] {
        let message = read_file(&one(dtype, "[2]", &vec![1; bytes])).unwrap_err().to_string();
        assert!(message.contains("x.safetensors: the type") && message.contains(dtype) && message.contains("tensor w"), "{message}");
    }
}

#[test]
fn a_weight_that_is_not_finite_is_named_with_its_place() {
    let nan = [0.0, f32::NAN].map(f32::to_le_bytes).concat();
    let message = read_file(&one("F32", "[2]", &nan)).unwrap_err().to_string();
    assert!(message.contains("tensor w has NaN at element 1"), "{message}");
    let message = read_file(&one("F64", "[1]", &1e300f64.to_le_bytes())).unwrap_err().to_string();
    assert!(message.contains("finite in f32"), "{message}");
    let tensors = NamedTensors::from([("w".to_owned(), NamedTensor::new(vec![1], vec![f32::INFINITY]))]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.safetensors");
    assert!(matches!(write(&path, &tensors), Err(Error::NonFinite { .. })));
    assert!(!path.exists());
}

#[test]
fn damage_is_reported_not_believed() {
    let whole = one("F32", "[2]", &[0; 8]);
    let overlapping = r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#;
    let damaged = [
        Vec::new(),
        b"GGUF".to_vec(),
        u64::MAX.to_le_bytes().to_vec(),
        whole[..whole.len() - 1].to_vec(),
        [whole.as_slice(), &[0]].concat(),
        one("F32", "[3]", &[0; 8]),
        one("F32", "[18446744073709551615,2]", &[0; 8]),
        one("F99", "[2]", &[0; 8]),
        file(r#"{"w":{"dtype":"F32","shape":[1073741824],"data_offsets":[0,4294967296]}}"#, &[0; 8]),
        file(overlapping, &[0; 8]),
        file("not json", &[]),
    ];
    for bytes in damaged {
        let error = read_file(&bytes).unwrap_err();
        assert!(matches!(error, Error::BadFile { .. }), "{error}");
        assert!(error.to_string().contains("x.safetensors"), "{error}");
    }
}

#[test]
fn a_sharded_model_is_read_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    for name in ["a", "b"] {
        let tensor = NamedTensor::new(vec![1], vec![1.0]);
        let tensors = NamedTensors::from([(name.to_owned(), tensor)]);
        write(&path(&format!("{name}.safetensors")), &tensors).unwrap();
    }
    let index = |b: &str| format!(r#"{{"weight_map":{{"a":"a.safetensors","b":"{b}"}}}}"#);
    std::fs::write(path(INDEX_FILE), index("b.safetensors")).unwrap();
    let tensors = read_folder(folder.path()).unwrap();
    assert_eq!(tensors.keys().collect::<Vec<_>>(), ["a", "b"]);
    for wrong in ["../b.safetensors", "a.safetensors", "c.safetensors"] {
        std::fs::write(path(INDEX_FILE), index(wrong)).unwrap();
        assert!(read_folder(folder.path()).is_err(), "{wrong}");
    }
}
