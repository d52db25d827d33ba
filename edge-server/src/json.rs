//! What is said as JSON, over HTTP and on sockets alike: values with their bounds, schemas, commands, and
//! what of a commit is told. It knows neither routes nor sockets.

pub(crate) mod command;
pub(crate) mod news;
pub(crate) mod schema;
pub(crate) mod value;
