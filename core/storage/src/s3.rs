//! `s3://`: buckets of S3 and of servers that speak its protocol.
//!
//! Reading goes through `object_store`, so that DataFusion can share it; listing and writing go through
//! `aws-sdk-s3`: the one for keys that `object_store` knows no paths for, the other because a staged
//! write is a multipart upload that one process begins and another one may complete. Both use one chain of credentials and one way to find the endpoint.
//!
//! What is done needs these permissions: `s3:GetObject`, `s3:ListBucket`; to write, also
//! `s3:PutObject`, `s3:AbortMultipartUpload`, `s3:ListMultipartUploadParts`,
//! `s3:ListBucketMultipartUploads`; to overwrite, also `s3:DeleteObject`.

mod answers;
mod bucket;
mod complete;
mod error;
mod http;
mod list;
mod pages;
mod parts;
mod staging;
mod writer;

pub(crate) use bucket::Bucket;
pub(crate) use error::reading;
pub(crate) use list::S3Lister;
pub(crate) use staging::S3Staging;
