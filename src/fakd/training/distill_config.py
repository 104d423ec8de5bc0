"""Everything a distillation can be told."""

from dataclasses import dataclass, field

from fakd.console import did_you_mean
from fakd.data.unlabelled import UNLABELLED_SET
from fakd.evaluation.ensembles import TeacherClassesConfig, as_given, teacher_names
from fakd.methods import method_options
from fakd.models.names import plain_name
from fakd.options import Options, Teachers
from fakd.training.config import RunConfig
from fakd.training.teacher_options import TeacherCacheConfig, check_method, check_teachers
from fakd.training.unlabelled import UnlabelledConfig


@dataclass(kw_only=True)
class DistillConfig(TeacherCacheConfig, TeacherClassesConfig, UnlabelledConfig, RunConfig):
    """Distil a trained teacher into a student."""

    teacher: Teachers
    """Trained teacher: a run folder, toy-scenes (comes with the package), a .safetensors or .pth file, mmseg:NAME,
    torchvision:NAME, hf:NAME, smp:FOLDER, smp:unet/resnet34=FILE; for methods that ask for logits also an .onnx file,
    torchscript:FILE, or several teachers: --teacher A --teacher B."""
    student: str = "pspnet-r18"
    """Student network: a preset, HEAD/BACKBONE, as deeplabv3plus/mobilenetv3_large_100, or another library's, as
    smp:unet/mobilenet_v2."""
    method: str = "fakd"
    """One of those below; none is the student alone."""
    options: Options = field(default_factory=dict)
    """Option of the method, as --options.strength 0.5."""
    allow_bad_teacher: bool = False
    """Go on even when the teacher is no better than chance."""

    def __post_init__(self) -> None:
        """Check what can be checked without touching data or networks.

        Raises:
            ValueError: a value is out of range, or the method has no such option.
        """
        known = method_options(self.method)
        if unknown := [name for name in self.options if name not in known]:
            raise ValueError(
                f"method {self.method!r} has no option {', '.join(unknown)}; it has {', '.join(known) or 'none'}."
                f"{did_you_mean(unknown[0], known)}"
            )
        self.teacher = as_given(self.teacher)
        self.check_teacher_classes(len(teacher_names(self.teacher)))
        check_method(self.method, self.teacher)
        self.dataset = self.resolve_unlabelled(self.dataset, self.data_root, self.batch_size)
        super().__post_init__()
        assert self.output is not None  # resolved there
        self.check_unlabelled(self.method, self.processes * self.accumulate, self.spec)
        if self.dataset == UNLABELLED_SET:
            for name, value in (("loss", "ce"), ("class_weights", "none"), ("label_smoothing", 0)):
                if (given := getattr(self, name)) != value:
                    raise ValueError(
                        f"{name} {given} is about labels, and no image has any: leave it out, or give --dataset."
                    )
            # for those who read the run without its teacher
            self.base_size = self.base_size or self.spec.base_size
            self.crop_size = self.crop_size or self.spec.crop_size
        check_teachers(self.teacher, self.output, self.spec, self)
        self.check_teacher_cache(self.method, self.spec.num_classes, self.output)

    @property
    def trained_network(self) -> str:
        """Name of the network that learns."""
        return self.student

    @property
    def run_name(self) -> str:
        """Name of the run folder below runs/DATASET."""
        return f"{plain_name(self.student)}-{self.method}-seed{self.seed}"
