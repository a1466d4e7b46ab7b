from .captioner import build_caption_signatures as build_caption_signatures
from .captioner import export_captioner as export_captioner
from .classifier import export_classifier as export_classifier
from .local_model import PretrainedModel as PretrainedModel
from .publishing import VerificationError as VerificationError
from .saved_model import write_version as write_version
from .server_files import write_server_files as write_server_files
from .signatures.images import build_signatures as build_signatures
