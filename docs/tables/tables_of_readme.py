"""The table of methods on the front page: the paper, and one number of each."""

from tables_of_comparison import UNIAD
from tables_of_distillation import EFFICIENTAD, REVERSE, STFPM
from tables_read import Rows, Values, models, number, runs, spread, stored

NOTE = "[not to compare methods by](docs/results/README.md)"


def methods() -> Rows:
    """Every method with its paper and a number of its page."""

    def score(values: Values, page: str) -> str:
        return f"[{spread(values)}](docs/results/{page}.md)"

    auroc = "image_auroc"
    copied = stored("identical_shortcut_workpieces")["unified"]["transformer"][-1][auroc]
    uniad = score(models(UNIAD, "unified")[auroc], "uniad")
    efficientad = score(runs(EFFICIENTAD["cookies"], 2)[auroc], "efficientad")
    stfpm = score(runs(STFPM["cookies"])[auroc], "stfpm")
    reverse = score(runs(REVERSE["cookies"])[auroc], "reverse_distillation")
    mkd = score(runs("mkd_cookies")[auroc], "mkd")
    students = score(runs("uninformed_students_cookies")[auroc], "uninformed_students")
    diffusion = score(runs("diffusionad_cookies_guided", 2)[auroc], "diffusionad")
    daad = score(models("daad_workpieces")[auroc], "daad")
    plain = score(models("autoencoder_workpieces")[auroc], "daad")
    patchcore, padim, spade, mahalanobis = (
        score(runs(f"{name}_cookies", seeds)[auroc], "memory")
        for name, seeds in (("patchcore", 3), ("padim", 1), ("spade", 1), ("mahalanobis", 1))
    )
    return [
        ["method", "paper", f"image AUROC here: {NOTE}"],
        ["`patchcore`", "Roth et al., CVPR 2022", f"{patchcore} cookies, no training"],
        ["`padim`", "Defard et al., ICPR 2021", f"{padim} cookies, no training, one seed"],
        ["`spade`", "Cohen and Hoshen, 2020", f"{spade} cookies, no training, one seed"],
        [
            "`mahalanobis`",
            "Rippel et al., ICPR 2020",
            f"{mahalanobis} cookies, no training, one seed",
        ],
        ["`efficientad`", "Batzner et al., WACV 2024", f"{efficientad} cookies, 1000 steps"],
        ["`uniad`", "You et al., NeurIPS 2022", f"{uniad} one model for three folders"],
        [
            "`feature_reconstruction`",
            "what UniAD is compared with",
            f"[{number(copied)}](docs/results/uniad.md) workpieces, a transformer, one seed",
        ],
        ["`stfpm`", "Wang et al., BMVC 2021", f"{stfpm} cookies"],
        ["`reverse_distillation`", "Deng and Li, CVPR 2022", f"{reverse} cookies"],
        ["`mkd`", "Salehi et al., CVPR 2021", f"{mkd} cookies"],
        ["`uninformed_students`", "Bergmann et al., CVPR 2020", f"{students} cookies"],
        ["`diffusionad`", "Zhang et al., 2023", f"{diffusion} cookies, 64 px, 600 steps"],
        ["`daad`", "Hou et al., ICCV 2021", f"{daad} workpieces"],
        ["`memae`", "Gong et al., ICCV 2019", "none is stored"],
        ["`autoencoder`", "Bergmann et al., VISAPP 2019", f"{plain} workpieces"],
    ]
