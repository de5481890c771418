//! Text files as others write them: each value as it stands in the file, or an error that says why.

use std::path::Path;

use arrow_array::RecordBatch;
use serde_json::{Value, json};
use tidegate_core::{Error, Rejected, Result, Scan};
use tidegate_formats::row_to_json;

use crate::support::{gzip, plan, read, read_all, source, write};

fn rows(batches: &[RecordBatch]) -> Vec<Value> {
    let rows = batches.iter().flat_map(|batch| {
        (0..batch.num_rows())
            .map(move |row| serde_json::from_str(&row_to_json(batch, row).unwrap()).unwrap())
    });
    rows.collect()
}

async fn all(dir: &Path, config: Value) -> Result<(Vec<Value>, Rejected)> {
    let source = source(dir, config).await?;
    let (batches, rejected) = read_all(&source).await?;
    Ok((rows(&batches), rejected))
}

/// What a file of this name and content gives.
async fn file(name: &str, bytes: impl AsRef<[u8]>) -> Vec<Value> {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), name, bytes);
    let (rows, rejected) = all(dir.path(), json!({ "url": name })).await.unwrap();
    assert!(rejected.is_empty(), "{rejected:?}");
    rows
}

async fn error(name: &str, bytes: impl AsRef<[u8]>) -> Error {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), name, bytes);
    let error = all(dir.path(), json!({ "url": name })).await.unwrap_err();
    let named = error
        .context()
        .iter()
        .any(|(key, value)| *key == "file" && value.ends_with(name));
    assert!(named && error.hint_text().is_some(), "{error:?}");
    error
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

#[tokio::test]
async fn a5_what_comes_after_the_sample_is_rejected_rather_than_bent() {
    let dir = tempfile::tempdir().unwrap();
    let mut text = "id,code,ok,note\n".to_owned();
    for i in 0..120_000 {
        text += &format!("{i},{},true,some padding text\n", 1000 + i);
    }
    text += "120001,01234,true,x\n120002,49,t,x\n120003,12E4,true,x\n120004,7,false,x\n";
    write(dir.path(), "a.csv", &text);
    let (rows, rejected) = all(dir.path(), json!({ "url": "a.csv" })).await.unwrap();
    assert_eq!(rows.last().unwrap()["id"], 120_004);
    assert_eq!(rows.len(), 120_001);
    let reasons: Vec<_> = rejected
        .rows
        .iter()
        .map(|row| row.reason.as_str())
        .collect();
    assert_eq!(reasons.len(), 3);
    assert!(
        reasons
            .iter()
            .all(|reason| reason.contains("would not stay as it is")),
        "{reasons:?}"
    );
    // What the user declares is read as he says.
    let given = json!({ "url": "a.csv", "schema": [{"name": "code", "type": "int64"}, {"name": "ok", "type": "bool"}] });
    let (rows, _) = all(dir.path(), given).await.unwrap();
    assert_eq!(rows[120_000], json!({"code": 1234, "ok": true}));
}

#[tokio::test]
async fn a7_lone_cr_ends_a_record() {
    let wanted = [
        json!({"id": 1, "city": "Oslo"}),
        json!({"id": 2, "city": "Bergen"}),
    ];
    for text in [
        "id,city\r1,Oslo\r2,Bergen\r",
        "id,city\r1,Oslo\r2,Bergen",
        "id,city\n1,Oslo\r2,Bergen\r\n",
        "id,city\r\n1,Oslo\n2,\"Bergen\"\r",
    ] {
        assert_eq!(file("mac.csv", text).await, wanted, "{text:?}");
    }
}

#[tokio::test]
async fn a11_and_a13_values_are_what_they_were() {
    let text = "id,v\n1,9007199254740993\n2,0.5\n3,12345678901234567.89\n";
    let values: Vec<_> = file("a.csv", text)
        .await
        .iter()
        .map(|row| row["v"].clone())
        .collect();
    assert_eq!(values, ["9007199254740993", "0.5", "12345678901234567.89"]);
    let text = "sku,ver\n12E12,1.10\n7e3,1.9\n";
    let wanted = [
        json!({"sku": "12E12", "ver": "1.10"}),
        json!({"sku": "7e3", "ver": "1.9"}),
    ];
    assert_eq!(file("a.csv", text).await, wanted);
}

#[tokio::test]
async fn a15_utf_16_is_decoded_or_named() {
    let text = "id,v\n1,Ōsaka\n2,y\n";
    let wanted = [json!({"id": 1, "v": "Ōsaka"}), json!({"id": 2, "v": "y"})];
    let marked = utf16(&format!("\u{feff}{text}"));
    assert_eq!(file("a.csv", &marked).await, wanted);
    assert_eq!(file("a.csv.gz", gzip(&marked)).await, wanted);
    let lines = "{\"id\":1,\"v\":\"Ōsaka\"}\n{\"id\":2,\"v\":\"y\"}\n";
    assert_eq!(
        file("a.ndjson", utf16(&format!("\u{feff}{lines}"))).await,
        wanted
    );
    for (name, text) in [("a.csv", text), ("a.ndjson", lines), ("a.json", lines)] {
        let error = error(name, utf16(text)).await;
        assert!(error.to_string().contains("looks like UTF-16LE"), "{error}");
    }
}

#[tokio::test]
async fn c3_odd_headers_are_read() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "in/a.csv", "id,name,,name\n1,x,,y\n");
    write(dir.path(), "in/b.csv", "id,name,,name\n2,z,5,\n");
    let given = json!({ "url": "in", "schema": [{"name": "id", "type": "int64"}, {"name": "name", "type": "string"}] });
    let wanted = [json!({"id": 1, "name": "x"}), json!({"id": 2, "name": "z"})];
    assert_eq!(all(dir.path(), given).await.unwrap().0, wanted);
    let (rows, _) = all(dir.path(), json!({ "url": "in" })).await.unwrap();
    assert_eq!(
        rows[1],
        json!({"id": 2, "name": "z", "column3": 5, "name_2": null})
    );
}

#[tokio::test]
async fn c4_ndjson_however_its_objects_stand() {
    let wanted = [json!({"id": 1}), json!({"id": 2})];
    for text in [
        "{\"id\":1}{\"id\":2}",
        "{\n \"id\":1\n}\n{\n \"id\":2\n}\n",
        "[{\"id\":1},\n {\"id\":2}]",
        "{\"id\":1}\r{\"id\":2}\r",
    ] {
        assert_eq!(file("a.ndjson", text).await, wanted, "{text:?}");
    }
    let large = json!({"id": 1, "t": "x".repeat(3_000_000)});
    let rows = file("a.ndjson", format!("{large}\n{{\"id\":2,\"t\":\"y\"}}\n")).await;
    assert_eq!((rows.len(), &rows[0]), (2, &large));
    for (text, why) in [
        ("", "there is no record"),
        ("\n\n", "there is no record"),
        ("x\n", "`x` is not a JSON object"),
    ] {
        let error = error("a.ndjson", text).await;
        assert!(error.to_string().contains(why), "{error}");
    }
}

#[tokio::test]
async fn c4_what_is_not_a_record_a_line_is_not_cut_into_pieces() {
    let records: String = (0..2_000)
        .map(|id| format!("{{\n \"id\": {id}\n}}\n"))
        .collect();
    let marked = utf16(&format!(
        "\u{feff}{}",
        records.replace('\n', "").replace('}', "}\n")
    ));
    for bytes in [
        records.as_bytes(),
        &marked,
        &gzip(records.as_bytes()).repeat(9),
    ] {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "a.ndjson", bytes);
        let config = json!({ "url": "a.ndjson", "piece_size": "1 KB" });
        let source = source(dir.path(), config).await.unwrap();
        let splits = plan(&source, None, true).await.unwrap().new;
        assert_eq!(splits.len(), 1);
        let (batches, _) = read_all(&source).await.unwrap();
        assert_eq!(rows(&batches).len() % 2_000, 0);
        assert_eq!(rows(&batches)[1_999], json!({"id": 1_999}));
    }
}

#[tokio::test]
async fn reading_goes_on_in_the_middle_of_odd_files() {
    let mut cells = "\u{feff}id;v\r".to_owned();
    let mut objects = String::new();
    for id in 0..60_000 {
        cells += &format!("{id};\"a;\rÅ {id}\"\r");
        objects += &format!("{{\n\"id\":{id},\"v\":\"a;\\rÅ {id}\"}}");
    }
    let utf16 = utf16(&cells);
    let packed = gzip(&utf16);
    let files: [(&str, &[u8]); 4] = [
        ("a.csv", cells.as_bytes()),
        ("b.csv", &utf16),
        ("c.csv", &packed),
        ("d.ndjson", objects.as_bytes()),
    ];
    for (name, bytes) in files {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), name, bytes);
        let source = source(dir.path(), json!({ "url": name })).await.unwrap();
        let split = plan(&source, None, true).await.unwrap().new.remove(0);
        let whole = read(&source, &split, &Scan::all("rows"), None)
            .await
            .unwrap();
        assert!(whole.len() > 1, "{name}");
        let mut rest = 60_000;
        for (decoded, resume) in &whole {
            rest -= decoded
                .batches
                .iter()
                .map(RecordBatch::num_rows)
                .sum::<usize>();
            let again = read(&source, &split, &Scan::all("rows"), Some(resume))
                .await
                .unwrap();
            let again: Vec<_> = again
                .into_iter()
                .flat_map(|(decoded, _)| decoded.batches)
                .collect();
            let again = rows(&again);
            assert_eq!(again.len(), rest, "{name}");
            let last = json!({"id": 59_999, "v": "a;\rÅ 59999"});
            assert!(again.is_empty() || again[rest - 1] == last, "{name}");
        }
        assert_eq!(rest, 0);
    }
}

#[tokio::test]
async fn c9_delimiters_and_compression_are_found() {
    let wanted = [json!({"id": 1, "v": "x,y"})];
    for text in [
        "id;v\n1;x,y\n",
        "sep=;\r\nid;v\r\n1;x,y\r\n",
        "id\tv\n1\tx,y\n",
        "id|v\n1|x,y\n",
    ] {
        assert_eq!(file("a.csv", text).await, wanted, "{text:?}");
        assert_eq!(
            file("a.csv", gzip(text.as_bytes())).await,
            wanted,
            "{text:?}"
        );
    }
    let error = error("a.csv", b"n\xe5vn,v\n1,x\n").await;
    assert!(error.to_string().contains("not UTF-8"), "{error}");
}

#[tokio::test]
async fn the_fields_of_tsv_are_between_tabs() {
    let wanted = [json!({"id": 1, "a, b": "x,y"})];
    assert_eq!(file("a.tsv", "id\ta, b\n1\tx,y\n").await, wanted);
    let gz = gzip(b"id\ta, b\n1\tx,y\n");
    assert_eq!(file("a.TSV.gz", gz).await, wanted);
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "a.tsv", "id;v\n1;x\n");
    let config = json!({"url": "a.tsv", "csv": {"delimiter": ";"}});
    let (rows, _) = all(dir.path(), config).await.unwrap();
    assert_eq!(rows, [json!({"id": 1, "v": "x"})]);
}
