//! Small files that stand for a large amount of data, each written by the library itself.

use super::*;
use parquet::data_type::{ByteArray, ByteArrayType};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use std::sync::Arc;

/// Writes a file of one column of texts, with its levels.
fn file(schema: &str, values: &[ByteArray], definitions: &[i16], repetitions: &[i16]) -> Vec<u8> {
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let properties = WriterProperties::builder().set_statistics_enabled(EnabledStatistics::None).build();
    let mut file = Vec::new();
    let mut writer = SerializedFileWriter::new(&mut file, schema, Arc::new(properties)).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<ByteArrayType>().write_batch(values, Some(definitions), Some(repetitions)).unwrap();
    column.close().unwrap();
    group.close().unwrap();
    writer.close().unwrap();
    file
}

const LIST: &str = "message m { OPTIONAL GROUP texts (LIST) { REPEATED GROUP list { OPTIONAL BYTE_ARRAY element (UTF8); } } }";

/// Returns the levels of one row with a list of `count` values, or nulls.
fn one_row(count: usize, definition: i16) -> (Vec<i16>, Vec<i16>) {
    (vec![definition; count], (0..count).map(|place| i16::from(place > 0)).collect())
}

fn read_bytes(bytes: Vec<u8>) -> Result<Vec<Row>> {
    read(Path::new("some.parquet"), bytes)
}

#[test]
fn a_list_that_stands_for_far_more_than_the_file_is_refused_before_it_is_there() {
    let (definitions, repetitions) = one_row(20_000, 3);
    let long = ByteArray::from("a long text ".repeat(2_000).into_bytes());
    let repeated = file(LIST, &vec![long; 20_000], &definitions, &repetitions);
    let (definitions, repetitions) = one_row(4_000_000, 2);
    let nulls = file(LIST, &[], &definitions, &repetitions);
    for bytes in [repeated, nulls] {
        assert!(bytes.len() < 100_000, "{}", bytes.len());
        let message = read_bytes(bytes).unwrap_err().to_string();
        let expected = "some.parquet: column \"texts.list.element\" in row group 1 of the Parquet file stands for far more data than the file or the memory holds";
        assert_eq!(message, expected);
    }
}

#[test]
fn ordinary_lists_with_repeated_values_are_read() {
    let values: Vec<ByteArray> =
        (0..3000).map(|i| ByteArray::from(["user", "assistant", "a text that comes again and again"][i % 3])).collect();
    let repetitions: Vec<i16> = (0..3000).map(|i| i16::from(i % 3 > 0)).collect();
    let rows = read_bytes(file(LIST, &values, &vec![3; 3000], &repetitions)).unwrap();
    assert_eq!(rows.len(), 1000);
    assert!(rows.iter().all(|row| row.keys["texts"] == serde_json::json!(["user", "assistant", "a text that comes again and again"])));
}

#[test]
fn a_schema_of_many_levels_is_refused() {
    let schema = format!("message m {{ {}REQUIRED BYTE_ARRAY x;{} }}", "REQUIRED GROUP g { ".repeat(300), " }".repeat(300));
    let bytes = {
        let schema = Arc::new(parse_message_type(&schema).unwrap());
        let mut file = Vec::new();
        SerializedFileWriter::new(&mut file, schema, Arc::default()).unwrap().close().unwrap();
        file
    };
    let message = read_bytes(bytes).unwrap_err().to_string();
    assert_eq!(message, "some.parquet: its Parquet schema is nested more than 256 levels deep");
}
