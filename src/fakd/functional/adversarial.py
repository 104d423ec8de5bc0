"""Adversarial distillation: what a critic of score maps learns, and what the student learns from it.

A critic (discriminator) gives each image's score map one number, high for the teacher's. Here are the losses as
functions of those numbers; they know nothing of the critic's form.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from fakd.functional.inputs import full_precision


def wasserstein_critic_loss(student_ratings: Tensor, teacher_ratings: Tensor) -> Tensor:
    """Push the critic's ratings of the student's maps below those of the teacher's, without a limit.

        E_b D(student_b) - E_b D(teacher_b)

    It needs a critic that is 1-Lipschitz, which `gradient_penalty` asks for.

    Args:
        student_ratings: (B,) the critic's ratings of the student's maps.
        teacher_ratings: (B,) of the teacher's.

    Returns:
        A scalar of either sign, 0 when both are rated alike; minus it estimates the distance between the two
        distributions of maps.

    Source: Gulrajani et al. 2017 (WGAN-GP), the critic loss without its penalty; Liu et al., CVPR 2019 (SKDS),
    holistic distillation.

    Example:
        >>> import torch
        >>> wasserstein_critic_loss(torch.tensor([1.0, 2.0]), torch.tensor([4.0, 5.0])).item()
        -3.0
    """
    ours, theirs = _ratings(student_ratings, teacher_ratings)
    return ours.mean() - theirs.mean()


def gradient_penalty(
    critic: Callable[[Tensor], Tensor], student_maps: Tensor, teacher_maps: Tensor, shares: Tensor
) -> Tensor:
    """Pull the length of the critic's gradient, between the student's and the teacher's maps, toward 1.

        E_b ( | grad_x D(x_b) |_2 - 1 )^2,    x_b = e_b teacher_b + (1 - e_b) student_b

    Args:
        critic: maps (B, C, h, w) to ratings (B,), each image's from its own map alone.
        student_maps: (B, C, h, w); no gradient flows into them.
        teacher_maps: (B, C, h, w); no gradient flows into them.
        shares: e, (B,) drawn uniformly from 0 to 1.

    Returns:
        A scalar >= 0 with a gradient into the critic's parameters; 1 for a constant critic. Weight 10 in the paper.

    A gradient of zero length is no trouble: its subgradient is 0, where a written-out sqrt(sum(g^2)) gives NaN.

    Source: Gulrajani et al. 2017 (WGAN-GP), the penalty of the critic loss.

    Example:
        >>> import torch
        >>> twice = lambda maps: 2 * maps.flatten(1).sum(1)
        >>> gradient_penalty(twice, torch.zeros(3, 1, 1, 1), torch.ones(3, 1, 1, 1), torch.rand(3)).item()
        1.0
    """
    if student_maps.shape != teacher_maps.shape or shares.shape != student_maps.shape[:1]:
        raise ValueError(
            "student_maps, teacher_maps and shares must be (B, C, h, w) twice and (B,), got "
            f"{tuple(student_maps.shape)}, {tuple(teacher_maps.shape)} and {tuple(shares.shape)}."
        )
    with torch.enable_grad():
        maps = torch.lerp(student_maps.detach(), teacher_maps.detach(), shares.view(-1, 1, 1, 1)).requires_grad_()
        (gradients,) = torch.autograd.grad(critic(maps).sum(), maps, create_graph=True)
        slopes: Tensor = gradients.flatten(1).norm(dim=1)
        return (slopes - 1).square().mean()


def hinge_critic_loss(student_ratings: Tensor, teacher_ratings: Tensor) -> Tensor:
    """Push the critic's ratings of the student's maps below -1 and those of the teacher's above 1, and no further.

        E_b max(0, 1 + D(student_b)) + E_b max(0, 1 - D(teacher_b))

    Args:
        student_ratings: (B,) the critic's ratings of the student's maps.
        teacher_ratings: (B,) of the teacher's.

    Returns:
        A scalar >= 0, 0 when the critic tells both apart with a margin, 2 when it rates all 0.

    Source: Lim and Ye 2017; Zhang et al. 2019 (SAGAN), the hinge loss.

    Example:
        >>> import torch
        >>> hinge_critic_loss(torch.tensor([-1.0, -3.0]), torch.tensor([0.5, 2.0])).item()
        0.25
    """
    ours, theirs = _ratings(student_ratings, teacher_ratings)
    return (1 + ours).relu().mean() + (1 - theirs).relu().mean()


def adversarial_loss(student_ratings: Tensor, teacher_ratings: Tensor) -> Tensor:
    """Pull the critic's rating of the student's maps up to that of the teacher's: the student's side of either game.

        E_b D(teacher_b) - E_b D(student_b)

    Args:
        student_ratings: (B,) the critic's ratings of the student's maps.
        teacher_ratings: (B,) of the teacher's; no gradient flows into them.

    Returns:
        A scalar, 0 when both are rated alike, negative where the student is rated higher.

    Fidelity: the authors' code leaves out the teacher's ratings, which give no gradient; with them the value is 0
    at agreement and comparable between steps.

    Source: Liu et al., CVPR 2019 (SKDS), holistic distillation, with the sign that the student sees.

    Example:
        >>> import torch
        >>> adversarial_loss(torch.tensor([1.0, 2.0]), torch.tensor([4.0, 5.0])).item()
        3.0
    """
    return -wasserstein_critic_loss(student_ratings, teacher_ratings.detach())


def _ratings(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    if student.ndim != 1 or student.shape != teacher.shape or student.numel() == 0:
        raise ValueError(
            "student_ratings and teacher_ratings must be one number for each image, (B,), got "
            f"{tuple(student.shape)} and {tuple(teacher.shape)}."
        )
    return full_precision(student), full_precision(teacher)
