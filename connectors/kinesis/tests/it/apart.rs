//! Aggregated records as other readers see them.

use md5::{Digest, Md5};

use crate::strict::Taken;

/// The number by which a key has its shard.
pub(crate) fn hash(key: &str) -> u128 {
    u128::from_be_bytes(Md5::digest(key).into())
}

/// The records in each of these.
pub(crate) fn taken_apart(taken: &[Taken]) -> Vec<Taken> {
    let each = taken
        .iter()
        .map(|(key, data)| records(data).unwrap_or_else(|| vec![(key.clone(), data.clone())]));
    each.flatten().collect()
}

/// The records in an aggregated one, by nothing of the source's.
pub(crate) fn records(data: &[u8]) -> Option<Vec<Taken>> {
    let body = data.strip_prefix(&[0xF3, 0x89, 0x9A, 0xC2])?;
    let (body, digest) = body.split_at(body.len() - 16);
    assert_eq!(Md5::digest(body)[..], *digest);
    let (mut keys, mut records) = (Vec::new(), Vec::new());
    let mut rest = body;
    while !rest.is_empty() {
        match field(&mut rest) {
            (1, Ok(key)) => keys.push(String::from_utf8(key.to_vec()).unwrap()),
            (3, Ok(mut record)) => {
                let (of_key, Err(key)) = field(&mut record) else {
                    panic!("no number of a key");
                };
                let (of_data, Ok(data)) = field(&mut record) else {
                    panic!("no data");
                };
                assert_eq!((of_key, of_data, record.len()), (1, 3, 0));
                records.push((Some(keys[key].clone()), data.to_vec()));
            }
            (other, _) => panic!("field {other}"),
        }
    }
    Some(records)
}

/// A field's number, with its bytes or its number.
fn field<'a>(rest: &mut &'a [u8]) -> (usize, Result<&'a [u8], usize>) {
    let tag = varint(rest);
    let number = varint(rest);
    if tag & 7 == 0 {
        return (tag >> 3, Err(number));
    }
    assert_eq!(tag & 7, 2);
    let (bytes, after) = rest.split_at(number);
    *rest = after;
    (tag >> 3, Ok(bytes))
}

fn varint(rest: &mut &[u8]) -> usize {
    let (mut number, mut shift) = (0, 0);
    loop {
        let (byte, after) = rest.split_first().unwrap();
        *rest = after;
        number |= usize::from(byte & 0x7f) << shift;
        if *byte < 0x80 {
            return number;
        }
        shift += 7;
    }
}
