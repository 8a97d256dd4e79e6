//! Functions of actors with Rust types.
//!
//! Owns [`Call`]: an [`ActorFunction`] whose Rust types were compared with its WIT type when the handle was made, so
//! that a wrong type is found before traffic and not by a message. Sending costs what the untyped handle costs.

use std::fmt;
use std::marker::PhantomData;

use airssys_wasm::{FromArgs, IntoArgs, NoSuchFunction, TypedArgs};

use crate::error::{CallError, SendError};
use crate::native::Context;
use crate::reference::{ActorFunction, ActorRef, CallOptions};

/// One function of one actor, with the Rust types of its arguments and of its result, each a tuple.
///
/// ```
/// # use airssys_wasm_actors::{ActorRef, Call};
/// # async fn example(adder: ActorRef) -> Result<(), Box<dyn std::error::Error>> {
/// let add: Call<(u32, u32), (u32,)> = adder.typed("add")?;
/// let (sum,) = add.call((1, 2)).await?;
/// # Ok(()) }
/// ```
pub struct Call<Req, Res> {
    function: ActorFunction,
    types: PhantomData<fn(Req) -> Res>,
}

impl<Req, Res> Clone for Call<Req, Res> {
    fn clone(&self) -> Self {
        Self {
            function: self.function.clone(),
            types: PhantomData,
        }
    }
}

impl<Req, Res> fmt::Debug for Call<Req, Res> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Call").field(&self.function).finish()
    }
}

/// Why there is no typed handle on a function.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum TypedError {
    /// The actor has no such function.
    #[error(transparent)]
    NoSuchFunction(#[from] NoSuchFunction),
    /// The function has other types than the handle.
    #[error("`{function}` is {signature}, and is not called with {given} for {returned}")]
    Types {
        /// The path asked for.
        function: String,
        /// The function's type, as WIT.
        signature: String,
        /// The Rust type of the arguments.
        given: &'static str,
        /// The Rust type of the result.
        returned: &'static str,
    },
}

impl ActorRef {
    /// One of its functions, with Rust types; see [`ActorRef::function`] for `path`.
    ///
    /// # Errors
    /// [`TypedError`] when there is no such function, or it has other types.
    pub fn typed<Req: TypedArgs, Res: TypedArgs>(
        &self,
        path: &str,
    ) -> Result<Call<Req, Res>, TypedError> {
        let function = self.function(path)?;
        let fits = |ty| Req::are_params_of(ty) && Res::are_results_of(ty);
        if function.ty().as_ref().is_some_and(fits) {
            return Ok(Call {
                function,
                types: PhantomData,
            });
        }
        Err(TypedError::Types {
            function: path.to_owned(),
            signature: function
                .ty()
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
            given: std::any::type_name::<Req>(),
            returned: std::any::type_name::<Res>(),
        })
    }
}

impl<Req: IntoArgs, Res: FromArgs> Call<Req, Res> {
    /// The untyped handle.
    #[must_use]
    pub fn function(&self) -> &ActorFunction {
        &self.function
    }

    /// Calls it and waits for the reply, at most 5 s.
    ///
    /// # Errors
    /// [`CallError`], as [`ActorFunction::call`]; [`CallError::WrongReply`] when a native actor replied with other
    /// types than it declares.
    pub async fn call(&self, request: Req) -> Result<Res, CallError> {
        self.call_with(request, CallOptions::default()).await
    }

    /// As [`Call::call`], with its own longest wait and trace.
    ///
    /// # Errors
    /// As [`Call::call`].
    pub async fn call_with(&self, request: Req, options: CallOptions) -> Result<Res, CallError> {
        let results = self.function.call_with(request, options).await?;
        self.received(results)
    }

    /// Sends a message nobody waits for.
    ///
    /// # Errors
    /// [`SendError`], as [`ActorFunction::cast`].
    pub fn cast(&self, request: Req) -> Result<(), SendError> {
        self.function.cast_fitting(request.into_args())
    }

    fn received(&self, results: airssys_wasm::Args) -> Result<Res, CallError> {
        Res::from_args(results).map_err(|mismatch| CallError::WrongReply {
            address: self.function.actor().address().clone(),
            mismatch,
        })
    }
}

impl Context {
    /// As [`Context::call`], with types.
    ///
    /// # Errors
    /// [`CallError`], as [`Call::call`].
    pub async fn ask<Req: IntoArgs, Res: FromArgs>(
        &mut self,
        call: &Call<Req, Res>,
        request: Req,
    ) -> Result<Res, CallError> {
        let results = self.call(&call.function, request).await?;
        call.received(results)
    }
}
