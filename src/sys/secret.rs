//! Text that must not be printed, where effects are: the type is the model's.

pub use crate::model::secret::Secret;
