//! Text files: what the splitter, the inference and the decoder promise each other.

use std::sync::Arc;

use bytes::Bytes;
use tidegate_core::{Result, Scan};
use tidegate_formats::{
    Chunk, Compression, CsvOptions, Decoder, Format, Inference, PlainText, Position, SchemaSpec,
    Splitter,
};

/// So much text is looked at: some bytes of gzip are gigabytes.
const MOST: usize = 1 << 20;

/// The most bytes of a record.
const RECORD: usize = 4 << 10;

/// How a file is read.
#[derive(Debug, Clone)]
pub struct Mode {
    /// The format.
    pub format: Format,
    /// How CSV looks.
    pub csv: CsvOptions,
    /// The least bytes of a chunk.
    pub chunk: usize,
    /// The bytes arrive in pieces of this size.
    pub piece: usize,
    /// A schema that the records needn't fit, as JSON; columns `a`, `b`, …
    pub schema: &'static str,
}

/// Reads a text in all ways that must agree.
pub fn text(mode: &Mode, file: &[u8]) {
    let Ok(text) = plain(file) else { return };
    let start = Position::start();
    let whole = chunks(mode, &text, &start, usize::MAX);
    let pieces = chunks(mode, &text, &start, mode.piece);
    match (&whole, &pieces) {
        (Ok(whole), Ok(pieces)) => assert_eq!(whole, pieces, "pieces change chunks"),
        (Err(_), Err(_)) => return,
        _ => panic!("pieces make or mend an error: {whole:?} {pieces:?}"),
    }
    let Ok((chunks, header)) = whole else { return };
    for (at, chunk) in chunks.iter().enumerate().take(4) {
        let rest = resumed(mode, &text, &chunk.end, header.as_ref());
        let rest = rest.unwrap_or_else(|error| panic!("a resume fails: {error}"));
        assert_eq!(
            rest,
            chunks[at + 1..],
            "a resume behind chunk {at} gives others"
        );
    }
    if mode.format == Format::Ndjson && Splitter::can_range(&text, true) == Some(true) {
        ranges(mode, &text);
    }
    learnt(mode, &chunks, header.as_ref());
    if let Ok(spec) = serde_json::from_str::<SchemaSpec>(mode.schema) {
        let schema = spec.to_arrow().expect("a schema");
        let decoder = Decoder::new(mode.format, &mode.csv, schema, &Scan::all("s"));
        let decoder = decoder.expect("a decoder");
        let decoder = match &header {
            Some(header) => decoder.with_header(header),
            None => Ok(decoder),
        };
        if let Ok(decoder) = decoder {
            decode(&decoder, &chunks);
        }
    }
}

type Chunks = (Vec<Chunk>, Option<tidegate_formats::CsvHeader>);

fn plain(file: &[u8]) -> Result<Bytes> {
    let mut plain = PlainText::new(Compression::None)?;
    let mut text = Vec::new();
    let mut take = |plain: &mut PlainText| {
        while let Some(part) = plain.next()? {
            text.extend_from_slice(&part);
            if text.len() > MOST {
                return Ok(false);
            }
        }
        Ok::<_, tidegate_core::Error>(true)
    };
    plain.push(Bytes::copy_from_slice(file))?;
    if take(&mut plain)? {
        plain.finish()?;
        take(&mut plain)?;
    }
    text.truncate(MOST);
    Ok(text.into())
}

fn splitter(mode: &Mode, from: &Position) -> Result<Splitter> {
    let splitter = Splitter::new(mode.format, &mode.csv, from.clone())?;
    Ok(splitter.chunk_size(mode.chunk).max_record(RECORD))
}

fn all(mut splitter: Splitter, text: &[u8], piece: usize) -> Result<(Vec<Chunk>, Splitter)> {
    let mut chunks = Vec::new();
    for piece in text.chunks(piece.max(1)) {
        splitter.push(Bytes::copy_from_slice(piece));
        while let Some(chunk) = splitter.next()? {
            chunks.push(chunk);
        }
    }
    splitter.finish();
    while let Some(chunk) = splitter.next()? {
        chunks.push(chunk);
    }
    assert!(splitter.is_done(), "it never ends");
    Ok((chunks, splitter))
}

fn chunks(mode: &Mode, text: &[u8], from: &Position, piece: usize) -> Result<Chunks> {
    let (chunks, splitter) = all(splitter(mode, from)?, text, piece)?;
    Ok((chunks, splitter.header().cloned()))
}

fn resumed(
    mode: &Mode,
    text: &[u8],
    from: &Position,
    header: Option<&tidegate_formats::CsvHeader>,
) -> Result<Vec<Chunk>> {
    let mut splitter = splitter(mode, from)?;
    if let Some(header) = header {
        splitter.set_header(header.clone());
    }
    let offset = usize::try_from(from.offset).expect("an offset");
    Ok(all(splitter, &text[offset..], mode.piece)?.0)
}

/// Ranges that cover a file give each of its records once.
fn ranges(mode: &Mode, text: &[u8]) {
    let length = text.len() as u64;
    let cut = (mode.piece as u64).min(length);
    let mut records = Vec::new();
    for (start, end) in [(0, cut), (cut, length)] {
        let splitter = Splitter::range(mode.format, start, end).expect("a range");
        let splitter = splitter.chunk_size(mode.chunk).max_record(RECORD);
        let from = usize::try_from(splitter.offset()).expect("an offset");
        let Ok((chunks, _)) = all(splitter, &text[from.min(text.len())..], usize::MAX) else {
            return;
        };
        records.extend(chunks.into_iter().flat_map(|chunk| chunk.bytes.to_vec()));
    }
    let text = text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text);
    assert!(records == text, "ranges lose or double records");
}

/// What is learnt of all records takes all records that could be read.
fn learnt(mode: &Mode, chunks: &[Chunk], header: Option<&tidegate_formats::CsvHeader>) {
    let mut inference = Inference::new(mode.format, &mode.csv).expect("an inference");
    if header.is_some_and(|header| inference.header(header).is_err()) {
        return;
    }
    if chunks.iter().any(|chunk| inference.push(chunk).is_err()) {
        return;
    }
    let rows = inference.rows();
    let Ok(schema) = inference.finish() else {
        return;
    };
    let decoder = Decoder::new(mode.format, &mode.csv, schema, &Scan::all("s"));
    let Ok(mut decoder) = decoder else { return };
    decoder.exact(true);
    let decoder = match header {
        None => decoder,
        Some(header) => decoder.with_header(header).expect("its own header"),
    };
    let decoded = decode(&decoder, chunks);
    // Empty lines are rows where there is one column, and tell nothing.
    assert!(
        decoded >= rows,
        "{decoded} of {rows} records that were learnt"
    );
}

fn decode(decoder: &Decoder, chunks: &[Chunk]) -> u64 {
    let name = Arc::from("file");
    let mut rows = 0;
    for chunk in chunks {
        // A chunk that can't be decoded ends a run.
        let Ok(decoded) = decoder.decode(chunk, &name) else {
            return rows;
        };
        for batch in decoded.batches {
            rows += batch.num_rows() as u64;
        }
    }
    rows
}
