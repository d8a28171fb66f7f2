"""Copying and deleting models."""

import logging

from ollama_jupyter.catalog.catalog import Catalog
from ollama_jupyter.errors import BadRequest, InvalidName, NotFound, StoreError
from ollama_jupyter.names import Digest, ModelName, ModelRef

_LOG = logging.getLogger(__name__)


def copy(catalog: Catalog, source: str, destination: str) -> None:
    """Give a model a second name; only the manifest is copied.

    A destination that is there already in another case is the one that changes.

    Raises:
        BadRequest: one of the texts is no name.
        NotFound: there is no such source.
        StoreError: the disk refused, or the source is damaged.
    """
    from_name = _named(source, f'source "{source}" is invalid')
    to_name = _named(destination, f'destination "{destination}" is invalid')
    try:
        stored = catalog.find(from_name.full())
    except NotFound as error:
        raise NotFound(f'model "{source}" not found') from error
    manifests = catalog.store.manifests
    to_name = manifests.existing_spelling(to_name)
    if to_name == stored.name:
        return
    with catalog.store.leases.hold(*stored.manifest.digests):
        replaced = blobs_of(catalog, to_name)
        manifests.write_raw(to_name, stored.raw)
    catalog.offers.offer_again(to_name)
    catalog.store.remove_unused(replaced - stored.manifest.digests)


def delete(catalog: Catalog, text: str) -> None:
    """Remove a model and the blobs that only it used; a damaged one goes, too.

    A model that a package offers stays away until it is created, copied to or pulled again. What
    runs goes on running: its weights are freed when it ends.

    Raises:
        BadRequest: the text is empty or no name.
        NotFound: there is no such model.
        StoreError: the disk refused.
    """
    reference = ModelRef.parse(text)
    name = _named(reference.stored_name(), f'name "{text}" is invalid')
    offered = catalog.offers.find(name)
    spelled = catalog.store.manifests.find_existing(name)
    if spelled is None and offered is None:
        raise NotFound(f"model '{text}' not found")
    if offered is not None:
        catalog.offers.withdraw(name)
    if spelled is not None:
        freed = blobs_of(catalog, spelled)
        catalog.store.manifests.remove(spelled)
        catalog.store.remove_unused(freed)


def blobs_of(catalog: Catalog, name: ModelName) -> frozenset[Digest]:
    """The blobs that a name stands for now; none when it stands for nothing readable."""
    try:
        return catalog.store.manifests.read(name).manifest.digests
    except NotFound:
        return frozenset()
    except StoreError as error:
        _LOG.warning("%s; its blobs are left to the next start", error)
        return frozenset()


def _named(text: str, refusal: str) -> ModelName:
    try:
        return ModelName.parse(text.strip())
    except InvalidName as error:
        raise BadRequest(refusal) from error
